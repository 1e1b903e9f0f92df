"""The users of the simulated BroadWorks, and the accounts of its messaging server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICE_PROVIDER, GROUP = "sandbox", "sandbox"
UC_ONE = "Business Communicator - PC"


@dataclass
class Device:
    """An access device profile of the user's group; `rebuilt` and `reset` count how often its configuration file was
    written anew, and how often it was told to fetch that."""

    name: str
    kind: str = UC_ONE
    tags: dict[str, str] = field(default_factory=dict)
    rebuilt: int = 0
    reset: int = 0

    def as_json(self) -> dict[str, Any]:
        shown = {"name": self.name, "type": self.kind, "tags": self.tags}
        return {**shown, "rebuilt": self.rebuilt, "reset": self.reset}


@dataclass
class User:
    """`imp_password` is what the messaging server lets in with; `own_imp_id` replaces the one made from the login."""

    login: str
    password: str = ""
    assigned: bool = True
    active: bool = True
    own_imp_id: str | None = None
    country_code: str = "1"
    mobile: str | None = None
    device: Device | None = None
    first_name: str = ""
    last_name: str = ""
    extension: str = ""
    phone_number: str = ""
    email: str = ""
    service_provider: str = SERVICE_PROVIDER
    group: str = GROUP
    imp_password: str | None = None
    imp_password_set_count: int = 0

    def imp_id(self, domain: str) -> str:
        """The JID, while the service is assigned and active."""
        if not (self.assigned and self.active):
            return ""
        return self.own_imp_id or f"{self.login.partition('@')[0]}@{domain}"

    def as_json(self, domain: str) -> dict[str, Any]:
        return {
            "login": self.login,
            "password": self.password,
            "imp": {"assigned": self.assigned, "active": self.active, "id": self.imp_id(domain) or None},
            "imp_password": self.imp_password,
            "imp_password_set_count": self.imp_password_set_count,
            "country_code": self.country_code,
            "mobile": self.mobile,
            "device": self.device.as_json() if self.device else None,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "extension": self.extension,
            "phone_number": self.phone_number,
            "email": self.email,
            "service_provider": self.service_provider,
            "group": self.group,
        }


def mirror_account(folder: str, jid: str, password: str) -> None:
    """Let the messaging server know a password: the file of a Prosody account, replaced whole. Sessions go on."""
    local, _, domain = jid.partition("@")
    place = Path(folder) / _encoded(domain) / "accounts"
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"{_encoded(local)}.dat"
    fresh = target.with_suffix(".new")
    fresh.write_text(f'return {{\n\t["password"] = "{_quoted(password)}";\n}};\n', encoding="utf-8")
    _give_to_owner_of(Path(folder), [place.parent, place, fresh])
    fresh.rename(target)


def _encoded(name: str) -> str:
    """A name as Prosody's internal storage writes it in paths."""
    return re.sub(rb"[^0-9A-Za-z]", lambda found: b"%%%02x" % found[0][0], name.encode()).decode()


def _quoted(text: str) -> str:
    """Inside a Lua string."""
    return re.sub(rb"[^ !#-\[\]-~]", lambda found: b"\\%03d" % found[0][0], text.encode()).decode()


def _give_to_owner_of(folder: Path, paths: list[Path]) -> None:
    """When we are root and Prosody is not, it is to own what it changes."""
    if os.geteuid() == 0:
        owner = folder.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)
