"""How to log in to the demo: new API tokens, `var/demo.json`, and a small table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings

from cpaas.demo.cast import PASSWORD
from cpaas.demo.tenants import Tenants
from cpaas.models import CpaasNumber
from portal.models import PortalAccount, StaffToken
from portal.services.tokens import issue_staff_token, revoke_staff_token

TOKEN_NAME = "demo"  # noqa: S105


def staff_logins(tenants: Tenants) -> list[dict[str, str]]:
    """Each account with a new token. The tokens of the last time are revoked: only digests were kept."""
    return [_staff(account) for account in tenants.accounts.values()]


def write_logins(tenants: Tenants, staff: list[dict[str, str]], sandbox_port: int) -> dict[str, Any]:
    """Write `var/demo.json` (0600) and return it."""
    logins = {
        "portal": settings.PUBLIC_URL,
        "sandbox": f"http://127.0.0.1:{sandbox_port}",
        "staff": staff,
        "users": [
            {
                "login": user.login,
                "password": PASSWORD,
                "name": user.name,
                "numbers": [number.number for number in numbers],
                "opt_in": [number.opt_in_state for number in numbers],
            }
            for user in tenants.users.values()
            for numbers in [list(CpaasNumber.objects.filter(user=user).order_by("id"))]
        ],
    }
    _write_private(settings.VAR_DIR / "demo.json", json.dumps(logins, indent=2) + "\n")
    return logins


def table(logins: dict[str, Any]) -> str:
    """The logins for people."""
    lines = ["", f"Demo logins, password {PASSWORD} for all (tokens for the API: var/demo.json)", ""]
    lines += ["  staff site                level            role"]
    lines += [f"  {row['username']:<25} {row['level']:<16} {row['role']}" for row in logins["staff"]]
    lines += ["", "  users of the REST API                      numbers"]
    for row in logins["users"]:
        numbers = zip(row["numbers"], row["opt_in"], strict=True)
        said = ", ".join(f"{number} {state}" for number, state in numbers)
        lines.append(f"  {row['login']:<42} {said or 'none'}")
    lines += ["", "Users have instant messages. XMPP needs a server: `make xmpp` in a second terminal adds one."]
    return "\n".join([*lines, ""])


def _staff(account: PortalAccount) -> dict[str, str]:
    for old in StaffToken.objects.filter(account=account, name=TOKEN_NAME):
        revoke_staff_token(actor=None, token=old)
    token = issue_staff_token(account=account, name=TOKEN_NAME)
    return {
        "level": account.level,
        "role": account.role,
        "username": account.username,
        "password": PASSWORD,
        "token": token.plain,
    }


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
