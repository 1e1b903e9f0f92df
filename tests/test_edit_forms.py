"""Each form that changes a row shows the row as it is, and saved as it was shown it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.db import models

from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory, MediaStreamFactory
from portal.admin.site import site
from portal.admin.writing import WritingAdmin
from portal.directory.models import Directory
from portal.directory.tests.factories import DirectoryFactory
from portal.models import AuditEntry, EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import (
    EndUserFactory,
    GroupFactory,
    PortalAccountFactory,
    ResellerFactory,
    SystemProviderFactory,
)
from xmpp.models import SmsGateway

# Nothing here is what a form offers first.
ELSEWHERE = {"country": "CA", "time_zone": "America/Vancouver"}
LDAP = {"host": "ldap.example.com", "base_dn": "dc=example", "bind_dn": "cn=reader", "security": "starttls"}
MAKERS: dict[type[models.Model], Any] = {
    SystemProvider: lambda: SystemProviderFactory(default_country="GB", time_zone="EST"),
    Reseller: ResellerFactory,
    Group: lambda: GroupFactory(enterprise="Acme Group"),
    EndUser: lambda: EndUserFactory(extension="4711", mobile="+12025550123", licence="agent", **ELSEWHERE),
    PortalAccount: lambda: PortalAccountFactory(
        scope=GroupFactory(), role="read_only", name="Somebody", time_zone="America/Vancouver"
    ),
    CpaasPlatform: lambda: CpaasPlatformFactory(name="Another platform"),
    CpaasNumber: lambda: CpaasNumberFactory(friendly_name="Front desk"),
    MediaStream: MediaStreamFactory,
    SmsGateway: lambda: SmsGateway.objects.create(
        system_provider=SystemProviderFactory(), domain="sms.example.com", host="im.example.com", secret="a-secret-1"
    ),
    Directory: lambda: DirectoryFactory(kind="ldap", settings=LDAP, secrets={"password": "reader-password-1"}),
}


def changeable() -> list[type[models.Model]]:
    site.load()
    admins = {model: admin for model, admin in site._registry.items() if isinstance(admin, WritingAdmin)}
    return [model for model, admin in admins.items() if admin.change_levels]


def test_there_is_a_row_for_each_form() -> None:
    assert set(changeable()) == set(MAKERS)


@pytest.mark.parametrize("model", MAKERS, ids=lambda model: model.__name__)
def test_a_form_shows_the_row_and_saved_as_shown_changes_nothing(
    model: type[models.Model], operator: PortalAccount
) -> None:
    row = MAKERS[model]()
    columns = columns_of(row)
    page = browser(operator).get(url_of(row, "change"))
    form = page.context["form"]
    shown = {name: form[name].value() for name in form.fields}
    stored = {field.name for field in model._meta.concrete_fields}
    unlike = {
        name: (value, getattr(row, name))
        for name, value in shown.items()
        if name in stored and not is_secret(form.fields[name]) and str(plain(value)) != str(plain(getattr(row, name)))
    }
    assert unlike == {}
    if model is CpaasPlatform:
        return  # saving it asks the carrier: cpaas/tests/test_admin_platforms.py
    sent = {name: as_sent(form.fields[name], value) for name, value in shown.items()}
    answer = browser(operator).post(url_of(row, "change"), {name: value for name, value in sent.items() if value})
    assert answer.status_code == 302, answer.context["form"].errors
    assert columns_of(model._default_manager.get(pk=row.pk)) == columns
    assert set(map(str, AuditEntry.objects.filter(action="update").values_list("before", "after"))) <= {"({}, {})"}


def test_a_form_for_a_new_row_starts_with_the_defaults(operator: PortalAccount) -> None:
    form = browser(operator).get(list_of(SystemProvider, "add")).context["form"]
    assert (form["time_zone"].value(), form["default_country"].value()) == ("UTC", "US")


def columns_of(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def is_secret(field: forms.Field) -> bool:
    return isinstance(field.widget, forms.PasswordInput)


def plain(value: Any) -> Any:
    """Foreign keys by their ids, nothing as nothing."""
    value = getattr(value, "pk", value)
    return "" if value is None else value


def as_sent(field: forms.Field, value: Any) -> Any:
    """What a browser sends for a field that is left alone; of choices without a chosen one the first."""
    if isinstance(field.widget, forms.CheckboxInput):
        return "on" if value else None
    if type(field) is forms.ChoiceField and str(plain(value)) not in {str(choice) for choice, _ in field.choices}:
        return next(choice for choice, _ in field.choices)
    return plain(value)
