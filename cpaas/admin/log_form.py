"""The filters of the message log as a form (S1.55)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from cpaas.services.message_log import UNASSIGNED, LogFilter
from cpaas.states import MessageStatus
from portal.admin.forms import StaffForm
from portal.admin.scoped import visible
from portal.models import Group, PortalAccount, Reseller, SystemProvider
from portal.scoping import parse_id

_LOCAL = "%Y-%m-%dT%H:%M"
_MOST_CHOICES = 100
_BELOW = {
    "operator": (SystemProvider,),
    "system_provider": (Reseller, Group),
    "reseller": (Group,),
    "group": (),
}
_LEVELS = {SystemProvider: "system_provider", Reseller: "reseller", Group: "group"}


class _LongSelect(forms.Select):
    """A choice of hundreds. It writes its options itself, as Django renders a template for each of them."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        widget = self.get_context(name, value, attrs)["widget"]
        groups = []
        for label, options, _ in widget["optgroups"]:
            shown = format_html_join("", "<option{}>{}</option>", map(_attributes_and_label, options))
            groups.append((format_html('<optgroup label="{}">{}</optgroup>', label, shown) if label else shown,))
        own = flatatt({**widget["attrs"], "name": name})
        return format_html("<select{}>{}</select>", own, format_html_join("", "{}", groups))


def _attributes_and_label(option: Mapping[str, Any]) -> tuple[SafeString, str]:
    return flatatt({**option["attrs"], "value": option["value"]}), option["label"]


class LogForm(StaffForm):
    """`from`, `to`, `after`, `before` (the viewer's zone), `text` and, where there is a choice, `scope`."""

    def __init__(self, *args: Any, account: PortalAccount, has_scope: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ending = forms.TextInput(attrs={"placeholder": "Number or last digits", "autocomplete": "off"})
        self.fields["from"] = forms.CharField(label="From", required=False, max_length=40, widget=ending)
        self.fields["to"] = forms.CharField(label="To", required=False, max_length=40, widget=ending)
        for name, label in (("after", "Start date/time"), ("before", "End date/time")):
            widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_LOCAL)
            self.fields[name] = forms.DateTimeField(label=label, required=False, widget=widget)
        self.fields["text"] = forms.CharField(label="Message body", required=False, max_length=200)
        choices = _scopes(account) if has_scope else []
        if choices:
            self.fields["scope"] = forms.ChoiceField(
                label="Account", required=False, choices=choices, widget=_LongSelect
            )
        for name, words in (("status", [*MessageStatus.values, UNASSIGNED]), ("direction", ["in", "out"])):
            self.fields[name] = forms.ChoiceField(required=False, choices=[(word, word) for word in words])
            self.fields[name].widget = forms.HiddenInput()
        self.dress()

    def wanted(self, scope: tuple[tuple[str, uuid.UUID], ...]) -> LogFilter:
        """What the valid form asks for, below `scope`."""
        given = self.cleaned_data
        level, _, key = str(given.get("scope") or "").partition(":")
        chosen = parse_id(key)
        return LogFilter(
            sender=given["from"],
            recipient=given["to"],
            after=given["after"],
            before=given["before"],
            text=given["text"],
            status=given["status"],
            direction=given["direction"],
            scope=scope if chosen is None else (*scope, (level, chosen)),
        )

    def shown(self) -> list[forms.BoundField]:
        """The fields that are filled in; status and direction are chosen beside them."""
        return [bound for bound in self if not bound.is_hidden]


def _scopes(account: PortalAccount) -> list[tuple[str, Any]]:
    """The accounts below the actor's own, by kind; none where there is nothing to choose."""
    groups: list[tuple[str, Any]] = []
    for model in _BELOW[account.level]:
        rows = visible(model, account).order_by("-id").values_list("pk", "name")[:_MOST_CHOICES]
        found = [(f"{_LEVELS[model]}:{key}", name) for key, name in rows]
        if found:
            groups.append((f"{model._meta.verbose_name_plural}".capitalize(), found))
    return [("", "All"), *groups] if groups else []
