"""LDAP servers (RFC 4511), OpenLDAP and Active Directory among them. What is searched for is escaped (RFC 4515)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal.directory.entries import Details
from portal.directory.models import NumberType
from portal.directory.sources.base import (
    Setting,
    Source,
    Unfit,
    Where,
    has_number,
    read_details,
)
from portal.phone_numbers import national_digits

_PORTS = {"tls": 636, "starttls": 389, "none": 389}
_NUMBER_TYPES = (NumberType.MOBILE, NumberType.WORK, NumberType.HOME, NumberType.EXTENSION, NumberType.OTHER)
_ATTRIBUTES = {
    "name": ("Name", "cn"),
    "company": ("Company", "o"),
    "mobile": ("Mobile number", "mobile"),
    "work": ("Work number", "telephoneNumber"),
    "home": ("Home number", "homePhone"),
    "extension": ("Extension", ""),
    "other": ("Other number", ""),
    "sip_uri": ("SIP URI", ""),
}


class Ldap(Source):
    settings = (
        Setting("host", "Host", required=True, help_text="Name of the server, for example ldap.example.com."),
        Setting("port", "Port", 0, "0: the usual one, 636 with TLS, else 389."),
        Setting(
            "security",
            "Security",
            "tls",
            choices=(("tls", "TLS (ldaps)"), ("starttls", "StartTLS"), ("none", "None, in plain text")),
        ),
        Setting("ca_certificate", "CA certificate", long=True, help_text="PEM. Empty: the public authorities."),
        Setting("bind_dn", "Bind DN", help_text="Who looks things up. Empty: anonymously."),
        Setting("password", "Password", secret=True),
        Setting("base_dn", "Base DN", required=True, help_text="Where people are, for example ou=people,dc=example."),
        Setting("filter", "Filter", "(objectClass=person)", "Which entries are contacts."),
        *(
            Setting(f"{name}_attribute", f"{label} attribute", default)
            for name, (label, default) in _ATTRIBUTES.items()
        ),
    )

    def check(self, where: Where) -> None:
        if not _is_filter(where.text("filter")):
            raise Unfit("filter", "The filter must stand in brackets, for example (objectClass=person).")
        if where.text("bind_dn") and not where.secrets.get("password"):
            raise Unfit("password", "A bind DN needs its password; without one the server would take us for anonymous.")

    def search(self, where: Where, text: str, timeout_s: float) -> list[Details]:
        names = _attributes(where, "name", "company")
        parts = [f"(|{''.join(f'({name}=*{_escaped(word)}*)' for name in names)})" for word in text.split()]
        return self._find(where, "".join(parts), timeout_s)

    def with_number(self, where: Where, number: str, timeout_s: float) -> list[Details]:
        written = _ways_to_write(number)
        attributes = _attributes(where, *_NUMBER_TYPES)
        any_of = "".join(f"({name}={way})" for name in attributes for way in written)
        found = self._find(where, f"(|{any_of})", timeout_s) if any_of else []
        return [details for details in found if has_number(details, number)]

    def test(self, where: Where, timeout_s: float) -> list[Details]:
        return self._find(where, "", timeout_s)

    def _find(self, where: Where, condition: str, timeout_s: float) -> list[Details]:
        # A second and ten megabytes that only those with such a directory pay.
        from portal.directory.sources import ldap_client

        entries = ldap_client.search(
            where,
            port=int(where.settings.get("port") or 0) or _PORTS[where.text("security")],
            condition=f"(&{where.text('filter')}{condition})",
            attributes=_attributes(where, *_ATTRIBUTES),
            timeout_s=timeout_s,
        )
        found = (_details(where, entry) for entry in entries)
        return [details for details in found if details is not None]


def _details(where: Where, entry: Mapping[str, Any]) -> Details | None:
    """A contact from an entry; the first value of each attribute, of numbers all."""
    values: dict[str, list[str]] = {
        name.lower(): [value.decode("utf-8", "replace") for value in found]
        for name, found in entry["raw_attributes"].items()
    }

    def of(name: str) -> list[str]:
        return values.get(where.text(f"{name}_attribute").lower(), [])

    plain = {name: found[0] for name in ("name", "company", "sip_uri") if (found := of(name))}
    numbers = [(number, type) for type in _NUMBER_TYPES for number in of(type)]
    return read_details(plain | {"key": entry["dn"], "kind": "person"}, numbers, country=where.country)


def _attributes(where: Where, *names: str) -> list[str]:
    """The attributes that are given for these, each once."""
    return list(dict.fromkeys(found for name in names if (found := where.text(f"{name}_attribute"))))


def _escaped(text: str) -> str:
    """`text` as a filter takes it literally (RFC 4515, section 3)."""
    return "".join(
        character if character.isalnum() and character.isascii() else "".join(f"\\{byte:02x}" for byte in utf8)
        for character in text
        if (utf8 := character.encode())
    )


def _ways_to_write(number: str) -> list[str]:
    """How people may have written a number; what is found is compared digit by digit afterwards."""
    digits, national = number.removeprefix("+"), national_digits(number)
    core = national.lstrip("0")
    ways = [_escaped(number), digits, national]
    if len(core) > 7:
        ways.append(f"*{core[:-7]}*{core[-7:-4]}*{core[-4:]}*")
    return list(dict.fromkeys(ways))


def _is_filter(text: str) -> bool:
    """Whether `text` is one filter in brackets, so that nothing of it reaches beyond."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and place < len(text) - 1:
            return False
    return len(text) > 2 and depth == 0
