"""Portal accounts: who logs in to this site, at which level, with which role, and who gets alerts (S4.20, S4.21)."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffModelForm, changes_of, time_zone_field, values_of
from portal.admin.navigation import Entry
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.models import Level, PortalAccount
from portal.services import accounts, second_factor

SCOPES = ("system_provider", "reseller", "group")
_RANK = list(Level.values)


class AccountForm(StaffModelForm):
    """`level` with the row of that level; only the choice that fits the level counts, and staff.js shows only that."""

    account: ClassVar[PortalAccount]
    """Who fills the form in."""

    password = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least ten characters.",
    )
    time_zone = time_zone_field(empty="The system provider's")

    class Meta:
        model = PortalAccount
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_new = self.instance._state.adding
        self.is_own = self.instance.pk == self.account.pk
        self.fields["password"].required = is_new
        if not is_new:
            keeping = (
                " Leave it empty to keep it as it is. A new one ends all API tokens of the account and logs it out."
            )
            self.fields["password"].help_text += f" {keeping}"
        self._offer_levels()
        if self.is_own:
            del self.fields["password"]
            for name in ("level", "role", "is_active"):
                self.fields[name].disabled = True
            role: Any = self.fields["role"]
            role.help_text = "Nobody changes the level, role or state of the own account; the password: My account."

    def _offer_levels(self) -> None:
        """The own level and those below, each with the rows of it that the account may see."""
        level: Any = self.fields["level"]
        at_least = _RANK.index(self.account.level)
        level.choices = [(value, label) for value, label in Level.choices if _RANK.index(value) >= at_least]
        level.widget.attrs["data-scope-switch"] = ""
        if len(level.choices) == 1:
            level.initial = level.choices[0][0]
        offered = {value for value, _ in level.choices}
        for name in SCOPES:
            if name not in offered or self.is_own:
                del self.fields[name]
                continue
            self.fields[name].widget.attrs["data-scope"] = name
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        level = cleaned.get("level")
        chosen = self.instance.scope if self.is_own else cleaned.get(level) if level in SCOPES else None
        if level in SCOPES and chosen is None:
            self.add_error(level, f"Choose the {level.replace('_', ' ')} the account belongs to.")
        cleaned["scope"] = chosen
        for name in SCOPES:  # the levels above follow from the scope, those below do not count
            cleaned[name] = chosen if name == level else getattr(chosen, name, None)
        return cleaned

    @property
    def moves(self) -> bool:
        """Whether level or scope was changed."""
        was = self.initial.get("level"), str(self.initial.get(self.initial.get("level") or "", ""))
        scope = self.cleaned_data["scope"]
        return was != (self.cleaned_data["level"], str(scope.pk) if scope else "")


@admin.register(PortalAccount, site=site)
class AccountAdmin(TenantScopedAdmin):
    slug = "portal-accounts"
    nav = Entry("Administration", "Portal accounts", "badge", 10)
    add_levels = change_levels = delete_levels = TenantScopedAdmin.levels
    related = ("system_provider", "reseller", "group")
    list_display = ("username", "name", "level", "scope_name", "role", "send_alerts", "is_active")
    list_filter = ("level", "role", "send_alerts", "is_active")
    search_fields = ("username__istartswith",)
    search_help_text = "Beginning of the user name"
    empty_text = (
        "There is no portal account here yet. Add one for each person who works on this site; with Send Alerts it "
        "gets a mail when a user declines text messaging."
    )
    form = AccountForm
    form_fields = (
        "username",
        "name",
        "email",
        "password",
        "time_zone",
        "level",
        *SCOPES,
        "role",
        "send_alerts",
        "is_active",
    )
    form_groups = (
        ("Person", ("username", "name", "email", "password", "time_zone")),
        ("Access", ("level", *SCOPES, "role", "send_alerts", "is_active")),
    )
    autocomplete_fields = SCOPES

    @admin.display(description="Belongs to")
    def scope_name(self, row: PortalAccount) -> str:
        return str(row.scope or "—")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change=change, **kwargs)
        if obj is None and actor(request).level in SCOPES:
            own = actor(request).level
            made.base_fields[own].initial = actor(request).actor_scope_id
        return made

    def make_form(self, request: HttpRequest, row: Any) -> Any:
        form = super().make_form(request, row)
        named = next((name for name in reversed(SCOPES) if name in request.GET), None)
        if row is None and named and not form.is_bound:
            form.initial.setdefault("level", named)  # added from the tab of that row
        return form

    def perform_create(self, request: HttpRequest, form: Any) -> PortalAccount:
        values = form.cleaned_data
        return accounts.create_account(
            actor=actor(request),
            level=values["level"],
            scope=values["scope"],
            password=values["password"],
            **values_of(form, accounts.ACCOUNT_FIELDS),
        )

    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> PortalAccount:
        move = {"level": form.cleaned_data["level"], "scope": form.cleaned_data["scope"]} if form.moves else {}
        return accounts.update_account(
            actor=actor(request),
            account=row,
            changes=changes_of(form, accounts.ACCOUNT_FIELDS),
            password=form.cleaned_data.get("password") or None,
            **move,
        )

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        accounts.delete_account(actor=actor(request), account=row)

    def has_second_factor(self, row: PortalAccount) -> bool:
        return second_factor.is_on(row)

    def reset_loss(self, row: PortalAccount) -> list[str]:
        return [
            f"{row} logs in with the password alone until a new device is set up, and is logged out everywhere.",
            f"Make sure that it is {row} who asks. A mail tells the account.",
        ]

    @row_action(
        "Reset two-step login",
        name="reset-second-factor",
        icon="phonelink_erase",
        loss="reset_loss",
        available="has_second_factor",
    )
    def reset_second_factor(self, request: HttpRequest, row: PortalAccount) -> str:
        second_factor.reset(actor=actor(request), account=row)
        return f"Two-step login of {row} was turned off."

    def loss(self, row: Any) -> list[str]:
        return [
            f"{row} can no longer log in, and all API tokens of the account end at once. This cannot be undone.",
            "The audit trail keeps what the account did.",
        ]
