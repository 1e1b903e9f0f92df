"""Everything the base app shows on the staff site; loaded with the site's URLs."""

from portal.admin import (
    accounts,
    audit,
    landing,
    mail,
    own_account,
    search,
    second_factor,
    tenants,
    tokens,
    users,
)

__all__ = [
    "accounts",
    "audit",
    "landing",
    "mail",
    "own_account",
    "search",
    "second_factor",
    "tenants",
    "tokens",
    "users",
]
