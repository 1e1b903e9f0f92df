"""Directories on the staff site: where they are and how they are read, a test, and the import of a file (S1.35)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffForm, StaffModelForm, show_problem
from portal.admin.navigation import Entry
from portal.admin.pages import Button, Detail, Route
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.directory.models import Directory
from portal.directory.services import asking, directories, importing
from portal.directory.sources import SOURCES, Setting
from portal.encryption import mask
from portal.extensions import Tab
from portal.models import Group, PortalAccount, Reseller, SystemProvider
from portal.problems import Problem

DIRECTORIES = Tab("directories", "Directories", Directory)
ASKING = "Asking the server …"
_STATES = {"connected": "p-good", "loaded": "p-good", "failed": "p-bad"}


def directories_tab(row: models.Model) -> Tab | None:
    return DIRECTORIES if isinstance(row, SystemProvider | Reseller | Group) else None


def state_badge(directory: Directory) -> SafeString:
    kind = _STATES.get(directory.state, "")
    return format_html('<span class="p-badge {}">{}</span>', kind, directory.get_state_display())


class DirectoryForm(StaffModelForm):
    """Whose it is, its kind and, for a server, the settings of that kind, its secrets write-only (R9)."""

    account: PortalAccount

    class Meta:
        model = Directory
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_new = self.instance._state.adding
        self._offer_owners()
        self.kinds = list(SOURCES) if is_new else [kind for kind in SOURCES if kind == self.instance.kind]
        if is_new:
            self.fields["kind"].help_text = "CRM and phone list: contacts are imported from a file on its page."
        groups = [("Directory", ["system_provider", "group", "kind", "name"])]
        groups += [(self._heading(kind), self._add_settings(kind, is_choice=is_new)) for kind in self.kinds]
        self.fieldsets = groups
        self.dress()

    def _offer_owners(self) -> None:
        """A group, or with none all users of the system provider, for those who may see it."""
        if "group" not in self.fields:
            return
        group: Any = self.fields["group"]
        if self.account.level in ("reseller", "group"):
            del self.fields["system_provider"]
            group.required = True
            return
        group.help_text = "Empty: for all users of the system provider."
        if self.account.level == "system_provider":
            del self.fields["system_provider"]
        else:
            self.fields["system_provider"].help_text = "Not needed when a group is chosen."

    def _heading(self, kind: str) -> str:
        return "LDAP server" if kind == "ldap" else "Database"

    def _add_settings(self, kind: str, *, is_choice: bool) -> list[str]:
        names = []
        for setting in SOURCES[kind].settings:
            name = f"{kind}-{setting.name}"
            self.fields[name] = self._field(setting, f"kind={kind}" if is_choice else "")
            names.append(name)
        return names

    def _field(self, setting: Setting, needs: str) -> forms.Field:
        attrs = {"data-needs": needs} if needs else {}
        stored = self.instance.settings.get(setting.name, setting.default)
        common: dict[str, Any] = {"label": setting.label, "required": False, "help_text": setting.help_text}
        if setting.secret:
            kept = self.instance.secrets.get(setting.name, "")
            if kept:
                common["help_text"] = f"Stored: {mask(kept)}. Leave it empty to keep it."
            return forms.CharField(
                strip=False, widget=forms.PasswordInput(attrs={**attrs, "autocomplete": "new-password"}), **common
            )
        if setting.choices:
            widget = UnfoldAdminSelectWidget(attrs=attrs)
            return forms.ChoiceField(choices=setting.choices, initial=stored, widget=widget, **common)
        if isinstance(setting.default, int):
            return forms.IntegerField(initial=stored, widget=forms.NumberInput(attrs=attrs), **common)
        area = forms.Textarea(attrs={**attrs, "rows": 4, "spellcheck": "false"})
        line = forms.TextInput(attrs={**attrs, "autocomplete": "off", "spellcheck": "false"})
        return forms.CharField(initial=stored, widget=area if setting.long else line, **common)

    @property
    def kind(self) -> str:
        return str(self.instance.kind if "kind" not in self.fields else self.cleaned_data["kind"])

    def given(self, *, changed_only: bool) -> dict[str, Any]:
        """The settings of the chosen kind; what was emptied goes back to its default."""
        known = {f"{self.kind}-{setting.name}": setting for setting in _settings_of(self.kind)}
        found: dict[str, Any] = {}
        for name, setting in known.items():
            value = self.cleaned_data.get(name)
            if changed_only and name not in self.changed_data:
                continue
            if setting.secret:
                found |= {setting.name: value} if value else {}
            else:
                found[setting.name] = None if value in ("", None) else value
        return found

    def field_names(self) -> dict[str, str]:
        """The service's names of fields, with ours."""
        return {f"settings.{setting.name}": f"{self.kind}-{setting.name}" for setting in _settings_of(self.kind)}


class ImportForm(StaffForm):
    """A file of contacts."""

    file = forms.FileField(
        label="CSV file",
        help_text=f"In UTF-8, the first line names the columns: {', '.join(importing.COLUMNS)}. Only name is needed; "
        "several lines with one key are one contact with several numbers.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    dry_run = forms.BooleanField(
        label="Only check the file",
        required=False,
        initial=True,
        help_text="Says what would change, and changes nothing. Switch it off and choose the file again to import it.",
    )


@admin.register(Directory, site=site)
class DirectoryAdmin(TenantScopedAdmin):
    slug = "directories"
    nav = Entry("Tenants", "Directories", "contacts", 50, counted=True)
    add_levels = change_levels = delete_levels = TenantScopedAdmin.levels
    related = ("system_provider", "group")
    list_display = ("name", "kind", "owner", "state_shown", "checked_at")
    list_filter = ("kind",)
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    empty_text = (
        "There is no directory here yet. With one, users see the names of those who text them: import contacts of a "
        "CRM or a phone list from a CSV file, or connect an LDAP server or a SQL database."
    )
    details = ("kind", "system_provider", "group", "checked_at")
    labels = {"checked_at": "Last checked"}
    form = DirectoryForm
    form_fields = ("name",)
    autocomplete_fields = ("system_provider", "group")

    @admin.display(description="For")
    def owner(self, row: Directory) -> str:
        return str(row.group or row.system_provider)

    @admin.display(description="State")
    def state_shown(self, row: Directory) -> SafeString:
        return state_badge(row)

    def routes(self) -> list[Route]:
        return [*super().routes(), ("<str:object_id>/import/", self.import_view, "import")]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["system_provider", "group", "kind", "name"] if obj is None else ["name"]

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        """The settings as they are, secrets by their last four characters only (R9)."""
        details = [Detail("State", f"{row.get_state_display()}{': ' + row.state_detail if row.state_detail else ''}")]
        details += super().get_details(request, row)
        if not row.is_asked:
            return [*details, Detail("Contacts", row.row_count)]
        for setting in _settings_of(row.kind):
            if setting.secret:
                details.append(Detail(setting.label, mask(row.secrets.get(setting.name, ""))))
                continue
            value = row.settings.get(setting.name, setting.default)
            if value not in ("", 0):
                shown = dict(setting.choices).get(str(value), value)
                details.append(Detail(setting.label, shown, kind="long" if setting.long else "text"))
        return details

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().get_buttons(request, row)
        if not row.is_asked and self.has_change_permission(request, row):
            buttons.insert(0, Button("Import contacts", self.url("import", row.pk), style="primary", icon="upload"))
        return buttons

    def perform_create(self, request: HttpRequest, form: Any) -> Directory:
        values, account = form.cleaned_data, actor(request)
        provider = values.get("system_provider") or (account.system_provider if account.level != "operator" else None)
        return _naming(
            form,
            lambda: directories.create_directory(
                actor=account,
                kind=values["kind"],
                name=values["name"],
                group=values["group"],
                system_provider=None if values["group"] else provider,
                settings=form.given(changed_only=False),
            ),
        )

    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> Directory:
        changes = {"name": form.cleaned_data["name"], "settings": form.given(changed_only=True)}
        return _naming(form, lambda: directories.update_directory(actor=actor(request), directory=row, changes=changes))

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        directories.delete_directory(actor=actor(request), directory=row)

    def loss(self, row: Any) -> list[str]:
        if row.is_asked:
            return [f"The directory {row} and its stored password are deleted. Its server is not changed."]
        return [f"The directory {row} is deleted with its contacts ({row.row_count}). This cannot be undone."]

    def is_server(self, row: Directory) -> bool:
        return row.is_asked

    @row_action("Test", name="test", icon="network_check", available="is_server")
    def test(self, request: HttpRequest, row: Directory) -> str:
        tested = asking.test_directory(actor=actor(request), directory=row)
        if tested.state == "failed":
            raise Problem("directory_failed", f"{tested} failed: {tested.state_detail}")
        return f"{tested} is connected. {tested.state_detail}"

    # --- Import --------------------------------------------------------------------------------------------------
    def import_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A file is checked first, and imported when the box is cleared."""
        row = self.get_scoped(request, object_id)
        if not self.has_change_permission(request, row):
            raise forbid(request)
        form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
        report = self._import(request, row, form) if form.is_bound and form.is_valid() else None
        context = {
            "form": form,
            "report": report,
            "may_save": True,
            "save_label": "Read the file",
            "busy_text": "Reading the file …",
            "cancel_url": self.url_of(row),
            "heading": "Import contacts",
            "kind": f"Directory · {row}",
            "crumbs": self.crumbs(row, "Import contacts"),
            "title": f"Import contacts into {row}",
        }
        return self.page(request, "portal/import_contacts.html", row, context)

    def _import(self, request: HttpRequest, row: Directory, form: ImportForm) -> importing.Report | None:
        try:
            return importing.import_contacts(
                actor=actor(request),
                directory=row,
                content=form.cleaned_data["file"].read(importing.MOST_BYTES + 1),
                dry_run=form.cleaned_data["dry_run"],
            )
        except Problem as problem:
            show_problem(form, problem)
            return None


def _settings_of(kind: str) -> tuple[Setting, ...]:
    source = SOURCES.get(kind)
    return source.settings if source else ()


def _naming(form: DirectoryForm, write: Any) -> Directory:
    """What `write` makes; a Problem's settings are called as in the form."""
    try:
        made: Directory = write()
    except Problem as problem:
        names: Mapping[str, str] = form.field_names()
        problem.errors = {names.get(name, name): found for name, found in problem.errors.items()}
        raise
    return made
