"""The BroadWorks of a system provider on the staff site: the connection, a test, and the import of users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget

from portal.admin.forms import StaffForm, show_problem
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.encryption import mask_of
from portal.extensions import Notice, Section
from portal.models import Group, Licence, PortalAccount, SystemProvider
from portal.problems import Problem
from xmpp.models import BroadworksConnection
from xmpp.services import connections, user_import
from xmpp.services.connections import CONNECTION_FIELDS, connection_of

ASKING = "Asking BroadWorks whether it lets us in …"
IMPORTING = "Asking BroadWorks for its users …"
_MOST_GROUPS = 200
_MOST_ATTENTION = 10
_GROUPS = [
    ("BroadWorks (OCI-P)", ["host", "port", "transport", "tls", "username", "password"]),
    ("XMPP server", ["imp_domain", "xmpp_host", "xmpp_port"]),
    ("Advanced", ["soap_path", "xmpp_ca", "device_tag_user", "device_tag_password", "device_types"]),
]


class ConnectionForm(StaffForm):
    """The fields of a connection; the password is never shown, and kept when it is left empty."""

    fieldsets = _GROUPS
    folded = ("Advanced",)

    def __init__(self, *args: Any, connection: BroadworksConnection | None, **kwargs: Any) -> None:
        shown = connection or BroadworksConnection()
        plain = CONNECTION_FIELDS - {"password"}
        kwargs.setdefault("initial", {name: getattr(shown, name) for name in plain})
        super().__init__(*args, **kwargs)
        for name in [name for _, names in _GROUPS for name in names]:
            self.fields[name] = self._field(name, connection)
        self.dress()

    def _field(self, name: str, connection: BroadworksConnection | None) -> forms.Field:
        if name == "password":
            kept = f"Stored: {mask_of(connection, 'password')}. Leave it empty to keep it." if connection else ""
            widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
            return forms.CharField(label="Password", required=False, strip=False, widget=widget, help_text=kept)
        model_field: Any = BroadworksConnection._meta.get_field(name)
        if name == "transport":
            return forms.ChoiceField(label="Transport", choices=model_field.choices, widget=UnfoldAdminSelectWidget())
        made: forms.Field = model_field.formfield()
        if name == "imp_domain":
            made.required = False
            made.help_text = "Behind the @ of every IM&P ID. Empty: what BroadWorks says."
        if isinstance(made.widget, forms.Textarea):
            made.widget.attrs.update({"rows": 4, "spellcheck": "false"})
        return made

    def given(self, *, changed_only: bool) -> dict[str, Any]:
        names = self.changed_data if changed_only else list(self.cleaned_data)
        return {name: self.cleaned_data[name] for name in names}


class UserImportForm(StaffForm):
    """Which group of BroadWorks, and into which of ours."""

    service_provider = forms.CharField(label="Service provider in BroadWorks", max_length=120)
    broadworks_group = forms.CharField(label="Group in BroadWorks", max_length=120)
    licence = forms.ChoiceField(
        label="Licence of new users",
        choices=Licence.choices,
        initial=Licence.NONE,
        widget=UnfoldAdminSelectWidget(),
    )
    dry_run = forms.BooleanField(
        label="Only look",
        required=False,
        initial=True,
        help_text="Says what would change, and changes nothing. Switch it off to import.",
    )
    field_order = ["service_provider", "broadworks_group", "group", "licence", "dry_run"]

    def __init__(self, *args: Any, groups: models.QuerySet[Group], is_cut: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cut = f" Only the first {_MOST_GROUPS} groups are listed; the API takes any." if is_cut else ""
        self.fields["group"] = forms.ModelChoiceField(
            groups,
            label="Group here",
            widget=UnfoldAdminSelectWidget(),
            help_text=f"Where new users are added.{cut}",
        )
        self.order_fields(self.field_order)
        self.dress()


def broadworks_section(row: models.Model, account: Any) -> Section | None:
    """On the system provider's page."""
    if not isinstance(row, SystemProvider):
        return None
    connection = visible(BroadworksConnection, account).filter(pk=row.pk).first()
    urls = {name: reverse(f"admin:broadworks_{name}", args=[row.pk]) for name in ("edit", "test", "import", "delete")}
    return Section("xmpp/broadworks_section.html", {"connection": connection, "may_write": account.may_write, **urls})


def attention(account: PortalAccount) -> Iterator[Notice]:
    """Connections that do not work, for those who can mend them."""
    failed = visible(BroadworksConnection, account).filter(status="failed").select_related("system_provider")
    for connection in failed.order_by("-pk")[:_MOST_ATTENTION]:
        url = reverse("admin:portal_systemprovider_detail", args=[connection.pk])
        title = str(connection.system_provider)
        yield Notice("BroadWorks failed", title, url, connection.status_detail, connection.checked_at)


def connection_page(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Connect, or change the connection; BroadWorks is asked before anything is saved."""
    providers, provider = _provider(request, provider_id)
    connection = connection_of(provider.pk)
    form = ConnectionForm(request.POST if request.method == "POST" else None, connection=connection)
    if form.is_bound and form.is_valid():
        try:
            saved = _save(request, provider, connection, form)
        except Problem as problem:
            show_problem(form, problem)
        else:
            state = "saved, and BroadWorks lets us in" if saved.status else "saved"
            messages.success(request, f"The connection was {state}.")
            return HttpResponseRedirect(providers.url_of(provider))
    page: HttpResponse = providers.form_page(
        request, provider, form, may_save=True, busy_text=ASKING, **_place(providers, provider, "BroadWorks connection")
    )
    return page


def test_page(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Whether BroadWorks lets us in."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    providers, provider = _provider(request, provider_id)
    connection = connection_of(provider.pk)
    if connection is not None:
        tested = connections.test_connection(actor=actor(request), connection=connection)
        if tested.status == "failed":
            messages.error(request, tested.status_detail)
        else:
            messages.success(request, "BroadWorks lets us in." if tested.status else "There is no BroadWorks to ask.")
    return HttpResponseRedirect(providers.url_of(provider))


def delete_page(request: HttpRequest, provider_id: str) -> HttpResponse:
    """First says what is lost, then takes the connection away."""
    providers, provider = _provider(request, provider_id)
    connection = connection_of(provider.pk)
    if connection is not None and request.method != "POST":
        losses = [
            "The connection and its stored password are deleted, and all XMPP sessions of this system provider end.",
            "Users keep their IM&P IDs and passwords, here and in BroadWorks.",
        ]
        url = reverse("admin:broadworks_delete", args=[provider.pk])
        page: HttpResponse = providers.confirmation(request, provider, "Delete connection", losses, url)
        return page
    if connection is not None:
        connections.delete_connection(actor=actor(request), connection=connection)
        messages.success(request, "The connection was deleted.")
    return HttpResponseRedirect(providers.url_of(provider))


def import_page(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Import of users, with what would change or was changed."""
    providers, provider = _provider(request, provider_id)
    groups = visible(Group, actor(request)).filter(system_provider=provider).order_by("name")
    keys = list(groups.values_list("pk", flat=True)[: _MOST_GROUPS + 1])
    form = UserImportForm(
        request.POST if request.method == "POST" else None,
        groups=groups.filter(pk__in=keys[:_MOST_GROUPS]),
        is_cut=len(keys) > _MOST_GROUPS,
    )
    report = _import(request, provider, form) if form.is_bound and form.is_valid() else None
    context = {
        "form": form,
        "report": report,
        "lines": [(row, list(user_import.describe(row))) for row in report.rows] if report else [],
        "may_save": True,
        "save_label": "Ask BroadWorks",
        "busy_text": IMPORTING,
        "title": f"Import users of {provider}",
        **_place(providers, provider, "Import users"),
    }
    page: HttpResponse = providers.page(request, "xmpp/import_users.html", provider, context)
    return page


def _import(request: HttpRequest, provider: SystemProvider, form: UserImportForm) -> user_import.Report | None:
    connection = connection_of(provider.pk)
    if connection is None:
        form.add_error(None, "This system provider has no BroadWorks connection. Connect it first.")
        return None
    try:
        return user_import.import_users(actor=actor(request), connection=connection, **form.cleaned_data)
    except Problem as problem:
        show_problem(form, problem)
        return None


def _save(
    request: HttpRequest, provider: SystemProvider, connection: BroadworksConnection | None, form: ConnectionForm
) -> BroadworksConnection:
    if connection is None:
        fields = form.given(changed_only=False)
        return connections.create_connection(actor=actor(request), system_provider=provider, **fields)
    changes = form.given(changed_only=True)
    return connections.update_connection(actor=actor(request), connection=connection, changes=changes)


def _provider(request: HttpRequest, provider_id: str) -> tuple[Any, SystemProvider]:
    """The page's ModelAdmin, and the row that the actor may change."""
    providers: Any = site._registry[SystemProvider]
    provider = providers.get_scoped(request, provider_id)
    if not providers.has_change_permission(request, provider):
        raise forbid(request)
    return providers, provider


def _place(providers: Any, provider: SystemProvider, here: str) -> dict[str, Any]:
    return {
        "heading": here,
        "kind": f"System provider · {provider}",
        "crumbs": providers.crumbs(provider, here),
        "cancel_url": providers.url_of(provider),
        "tabs": [],
    }


site.add_page("system-providers/<str:provider_id>/broadworks/", connection_page, "broadworks_edit")
site.add_page("system-providers/<str:provider_id>/broadworks/test/", test_page, "broadworks_test")
site.add_page("system-providers/<str:provider_id>/broadworks/import/", import_page, "broadworks_import")
site.add_page("system-providers/<str:provider_id>/broadworks/delete/", delete_page, "broadworks_delete")
