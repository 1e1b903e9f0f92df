"""Walking the staff site by what it registers, so that a page nobody thought of is tried too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.test import Client
from django.urls import reverse

from portal.admin.site import site
from portal.models import PortalAccount
from portal.tests.tenants import LEVELS, ROLES

site.load()
EVERYBODY = [(level, role) for level in LEVELS for role in ROLES]


def browser(account: PortalAccount) -> Client:
    """A browser in which that account is logged in."""
    client = Client()
    client.force_login(account)
    return client


def url_of(row: models.Model, page: str, *more: object) -> str:
    """A page of a row: detail, change, delete, history or the name of an action."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    return reverse(name, args=[row.pk, *more])


def list_of(model: type[models.Model], page: str = "changelist") -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}")


def doors(row: models.Model) -> Iterator[str]:
    """The URL of every page of a row that its ModelAdmin has, tabs included."""
    admin: Any = site._registry[type(row)]
    for route, _, name in admin.routes():
        if name == "tab":
            yield from (url_of(row, "tab", tab.name) for tab in admin.tabs_of(row))
        elif "object_id" in route:
            yield url_of(row, name)


def tries(client: Client, url: str) -> Iterator[tuple[str, Any]]:
    """The door tried by looking and by writing."""
    yield f"GET {url}", client.get(url)
    yield f"POST {url}", client.post(url, {"name": "changed", "post": "yes"})


def assert_closed(stranger: PortalAccount, row: models.Model, mark: str) -> int:
    """Every door of `row` is 404 to `stranger` (405 where it is only posted to) and names nothing of `mark`."""
    client, tried = browser(stranger), 0
    for url in doors(row):
        for what, response in tries(client, url):
            tried += 1
            assert response.status_code in (404, 405), f"{stranger} {what}: {response.status_code}"
            assert mark not in response.content.decode(), f"{stranger} {what} names {mark}"
            if what.startswith("POST"):
                assert response.status_code == 404, f"{stranger} {what}: {response.status_code}"
    assert tried
    return tried
