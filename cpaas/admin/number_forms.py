"""The forms of a CPaaS number: assigning one, and changing what may change (S4.24–S4.30, R12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.services.numbers import PROVISIONING_NOTICE
from cpaas.states import Override
from portal.admin.forms import StaffForm, StaffModelForm

BLOCKING_HELP = (
    "When on, the user can block a remote party: messages from that number are then not forwarded to the user."
)
SETTINGS = ("friendly_name", "mms", "can_block", "note")


def tooltip(name: str, text: str) -> SafeString:
    """The (?) of S4.30, which opens on hover and on keyboard focus."""
    return format_html(
        '<span class="p-tip"><button type="button" aria-label="Help on {}" aria-describedby="tip-{}">?</button>'
        '<span role="tooltip" id="tip-{}">{}</span></span>',
        name,
        name.replace(" ", "-"),
        name.replace(" ", "-"),
        text,
    )


def setting_fields(platforms: Sequence[CpaasPlatform]) -> dict[str, forms.Field]:
    """Friendly name, MMS, blocking and note. *On* is no choice of MMS where no platform has it (R12)."""
    able = [platform for platform in platforms if platform.mms and get_carrier(platform.carrier).supports_mms]
    mms = [choice for choice in Override.choices if able or choice[0] != Override.ON]
    only = platforms[0] if len(platforms) == 1 else None
    type_by_default = "MMS & SMS" if only in able else "SMS"
    blocking = format_html(
        "{}{}",
        f"Default: {'On' if only.user_can_block else 'Off'} " if only else "",
        tooltip("blocking", BLOCKING_HELP),
    )
    attrs = {"data-mms-platforms": " ".join(str(platform.pk) for platform in able)}
    return {
        "friendly_name": forms.CharField(
            label="Friendly Name",
            max_length=120,
            required=False,
            help_text="For example Reception. Without one the number is shown.",
        ),
        "mms": forms.ChoiceField(
            label="MMS",
            choices=mms,
            required=False,
            widget=UnfoldAdminSelectWidget(attrs=attrs),
            help_text=f"Messaging Type by default: {type_by_default}." if only else "Default: as the platform is set.",
        ),
        "can_block": forms.ChoiceField(
            label="User Can Block Numbers",
            choices=Override.choices,
            required=False,
            widget=UnfoldAdminSelectWidget(),
            help_text=blocking,
        ),
        "note": forms.CharField(
            label="Note", max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 3})
        ),
    }


def assignment_fields(platforms: Sequence[CpaasPlatform]) -> dict[str, forms.Field]:
    """What is asked to assign a number; the platform is chosen when there are several (S4.27)."""
    choices = [(str(platform.pk), platform.name) for platform in platforms]
    several = len(choices) > 1
    settings = setting_fields(platforms)
    return {
        "number": forms.CharField(
            label="Number",
            max_length=64,
            help_text="Ten-digit US number.",
            widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off"}),
        ),
        "friendly_name": settings.pop("friendly_name"),
        "platform": forms.ChoiceField(
            label="Platform",
            choices=[("", "Choose a platform"), *choices] if several else choices,
            widget=UnfoldAdminSelectWidget(),
        ),
        **settings,
    }


def provisioning_notice(platforms: Sequence[CpaasPlatform]) -> str:
    """S4.28 with the names of the carriers."""
    carriers = dict.fromkeys(get_carrier(platform.carrier).label for platform in platforms)
    return PROVISIONING_NOTICE.format(carrier=" or ".join(carriers))


class AssignForm(StaffForm):
    """Assign a number to a user or media stream of a tenant with `platforms`."""

    def __init__(self, *args: Any, platforms: Sequence[CpaasPlatform], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.platforms = {str(platform.pk): platform for platform in platforms}
        self.fields.update(assignment_fields(platforms))
        self.dress()

    def values(self) -> dict[str, Any]:
        """The keyword arguments of `assign_number` but the owner."""
        return assignment_values(self.cleaned_data, self.platforms)


def assignment_values(cleaned: dict[str, Any], platforms: dict[str, CpaasPlatform]) -> dict[str, Any]:
    return {
        "number": cleaned["number"],
        "friendly_name": cleaned["friendly_name"],
        "platform": platforms.get(cleaned["platform"]),
        "mms": cleaned["mms"] or Override.INHERIT.value,
        "can_block": cleaned["can_block"] or Override.INHERIT.value,
        "note": cleaned["note"],
    }


class NumberForm(StaffModelForm):
    class Meta:
        model = CpaasNumber
        fields = SETTINGS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(setting_fields([self.instance.platform]))
        self.fields["mms"].widget.attrs.pop("data-mms-platforms")
        self.dress()
