"""End users."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from portal.admin.forms import StaffModelForm, changes_of, country_field, time_zone_field, values_of
from portal.admin.levels import LevelAdmin
from portal.admin.navigation import Entry
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.models import EndUser
from portal.services import users


class UserForm(StaffModelForm):
    password = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="The user's password for the client, at least ten characters.",
    )
    country = country_field(empty="Empty: the system provider's.")
    time_zone = time_zone_field(empty="The system provider's")

    class Meta:
        model = EndUser
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text += (
            " Without one the user cannot log in."
            if self.instance._state.adding
            else " Leave it empty to keep it as it is. A new one logs the user out everywhere."
        )


@admin.register(EndUser, site=site)
class UserAdmin(LevelAdmin):
    slug = "users"
    level = "user"
    nav = Entry("Tenants", "Users", "person", 40, counted=True)
    add_levels = change_levels = delete_levels = LevelAdmin.levels
    related = ("group", "group__reseller")
    list_display = ("name", "login", "licence", "extension", "group", "is_active")
    list_filter = ("licence", "is_active")
    search_fields = ("login__istartswith", "name__istartswith")
    search_help_text = "Beginning of the name or login"
    empty_text = "There is no user here yet. A user belongs to a group, and gets CPaaS numbers on the user's own page."
    details = (
        "login",
        "licence",
        "is_active",
        "group",
        "email",
        "extension",
        "mobile",
        "sip_uri",
        "voicemail_number",
        "country",
        "time_zone",
    )
    form = UserForm
    parent_field = "group"
    form_fields = (
        "name",
        "login",
        "password",
        "email",
        "licence",
        "is_active",
        "extension",
        "mobile",
        "sip_uri",
        "voicemail_number",
        "mailbox",
        "ring_seconds",
        "country",
        "time_zone",
        "monitored",
    )
    form_groups = (
        ("Account", ("group", "name", "login", "password", "email", "licence", "is_active")),
        ("Telephony", ("extension", "mobile", "sip_uri", "voicemail_number", "mailbox", "ring_seconds")),
        ("Region", ("country", "time_zone")),
        ("Presence", ("monitored",)),
    )
    autocomplete_fields = ("group", "monitored")

    def perform_create(self, request: HttpRequest, form: Any) -> EndUser:
        values = form.cleaned_data
        return users.create_user(
            actor=actor(request),
            group=values["group"],
            password=values["password"],
            monitored=values["monitored"],
            **values_of(form, users.USER_FIELDS),
        )

    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> EndUser:
        return users.update_user(
            actor=actor(request),
            user=row,
            changes=changes_of(form, users.USER_FIELDS),
            password=form.cleaned_data["password"] or None,
            monitored=form.cleaned_data["monitored"] if "monitored" in form.changed_data else None,
        )

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        users.delete_user(actor=actor(request), user=row)

    def loss(self, row: Any) -> list[str]:
        return [
            f"{row} is deleted with settings and devices, and is logged out everywhere. This cannot be undone.",
            "A user who still has a CPaaS number cannot be deleted: delete the number first.",
            "The audit trail and opt-in evidence are kept.",
        ]
