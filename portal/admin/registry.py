"""Everything the base app shows on the staff site; loaded with the site's URLs."""

from portal.admin import (
    accounts,
    audit,
    landing,
    licences,
    mail,
    own_account,
    search,
    second_factor,
    services,
    tenants,
    tokens,
    users,
)
from portal.directory import admin as directories
from portal.extensions import page_tabs

__all__ = [
    "accounts",
    "audit",
    "directories",
    "landing",
    "licences",
    "mail",
    "own_account",
    "search",
    "second_factor",
    "services",
    "tenants",
    "tokens",
    "users",
]

page_tabs.append(directories.directories_tab)
