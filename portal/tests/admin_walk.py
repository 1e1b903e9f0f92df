"""Browsers of the staff and the addresses of the staff site's pages."""

from __future__ import annotations

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
