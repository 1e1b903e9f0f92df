"""The form of a CPaaS platform: the carrier's credentials, write-only, and its options (S4.9–S4.19, R9)."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from cpaas.carriers.base import CredentialField
from cpaas.carriers.registry import CARRIER_LABELS, get_carrier
from cpaas.models import CpaasPlatform
from cpaas.models.platforms import DEFAULT_OPT_IN_PROMPT, default_options
from portal.admin.forms import StaffForm
from portal.encryption import mask

_TOGGLES = ("user_confirmation_required", "user_can_block", "mms")
_OPTION_LABELS = {
    "services_url": "Services URL",
    "broker_url": "Message Broker URL",
    "base_url": "Base URL",
    "messaging_url": "Messaging URL",
    "dashboard_url": "Dashboard URL",
    "allowed_countries": "Allowed countries",
    "per_number_per_minute": "Segments per number and minute",
    "per_number_per_day": "Segments per number and day",
    "per_platform_per_minute": "Segments per platform and minute",
    "per_platform_per_day": "Segments per platform and day",
    "queue_ttl_s": "Longest wait of a message, in seconds",
    "mms_limit_bytes": "Largest MMS, in bytes",
    "stop_reply": "Answer to STOP",
    "brand_id": "10DLC brand",
    "campaign_id": "10DLC campaign",
}
_NUMBERS_WITHOUT_DEFAULT = ("per_platform_per_minute", "per_platform_per_day")
_OPTION_HELP = {
    "allowed_countries": "Two-letter codes with commas between. Empty: the system provider's country.",
    "per_number_per_minute": "What is more is refused; the alert accounts get a mail, one a day for each number.",
    "per_number_per_day": "A day of the system provider's time zone. What is more is refused.",
    "per_platform_per_minute": "Of all its numbers together; texts wait for their turn. Empty: no limit.",
    "per_platform_per_day": "Of all its numbers together; what is more is refused. Empty: no limit.",
    "stop_reply": "Sent once to whoever writes STOP. Empty: no answer is sent.",
    "brand_id": "The brand's id at The Campaign Registry, such as B1A2B3C.",
    "campaign_id": "The campaign's id, such as C4D5E6F. Numbers in another one are pointed out.",
}


class PlatformForm(StaffForm):
    """`platform` None is a new one, of the carrier `carrier`: the form has that one's fields only, and choosing another
    loads its form. Empty secrets keep what is stored, empty options mean the default."""

    folded = ("Advanced",)

    def __init__(self, *args: Any, platform: CpaasPlatform | None, carrier: str = "", **kwargs: Any) -> None:
        self.platform = platform
        self.adapter = get_carrier(platform.carrier if platform else carrier)
        kwargs.setdefault("initial", self._initial())
        super().__init__(*args, **kwargs)
        if platform is None:
            self.fields["carrier"] = forms.ChoiceField(
                label="Carrier",
                choices=list(CARRIER_LABELS.items()),
                widget=UnfoldAdminSelectWidget(attrs={"data-loads": "carrier"}),
            )
        self.fields["name"] = forms.CharField(max_length=120, help_text="What staff see when they choose a platform.")
        self.fieldsets = [
            ("Account", ["carrier", "name", *self._credentials()]),
            ("Users", [*self._toggles(), "opt_in_prompt"]),
            ("Advanced", [*self._switches(), *self._options()]),
        ]
        self.dress()

    def _initial(self) -> dict[str, Any]:
        platform = self.platform
        if platform is None:
            return {
                "carrier": self.adapter.code,
                "name": self.adapter.label,
                "user_confirmation_required": True,
                "opt_in_prompt": DEFAULT_OPT_IN_PROMPT,
            }
        plain = {name: getattr(platform, name) for name in ("name", "opt_in_prompt", *_TOGGLES)}
        shown = {
            self._credential_name(credential): platform.credentials.get(credential.name, "")
            for credential in self.adapter.credential_fields
            if not credential.secret
        }
        switches = {switch.name for switch in self.adapter.switches}
        options = {
            f"option-{name}": value if name in switches else _as_text(value) for name, value in platform.options.items()
        }
        return plain | shown | options

    def _credential_name(self, credential: CredentialField) -> str:
        return f"{self.adapter.code}-{credential.name}"

    def _credentials(self) -> list[str]:
        names = []
        for credential in self.adapter.credential_fields:
            stored = self.platform.credentials.get(credential.name) if self.platform and credential.secret else None
            kept = f"Stored: {mask(stored)}. Leave it empty to keep it." if stored else ""
            help_text = kept if credential.generated and kept else f"{credential.help_text} {kept}"
            attrs = {"autocomplete": "new-password", "spellcheck": "false"}
            widget = forms.PasswordInput(attrs=attrs) if credential.secret else forms.TextInput(attrs=attrs)
            name = self._credential_name(credential)
            self.fields[name] = forms.CharField(
                label=credential.label,
                help_text=help_text,
                # Of a platform that is there, empty keeps what is stored.
                required=self.platform is None and credential.required,
                error_messages={"required": f"{credential.label} is needed."},
                widget=widget,
            )
            names.append(name)
        return names

    def _toggles(self) -> list[str]:
        for name in _TOGGLES:
            if name == "mms" and not self.adapter.supports_mms:
                continue  # R13
            model_field: Any = CpaasPlatform._meta.get_field(name)
            self.fields[name] = model_field.formfield()
        prompt: Any = CpaasPlatform._meta.get_field("opt_in_prompt")
        self.fields["opt_in_prompt"] = prompt.formfield(
            label="Opt-in prompt", required=False, widget=forms.Textarea(attrs={"rows": 4})
        )
        return [name for name in _TOGGLES if name in self.fields]

    def _switches(self) -> list[str]:
        for switch in self.adapter.switches:
            self.fields[f"option-{switch.name}"] = forms.BooleanField(
                label=switch.label, help_text=switch.help_text, required=False
            )
        return [f"option-{switch.name}" for switch in self.adapter.switches]

    def _options(self) -> list[str]:
        names = []
        for option, default in {**self.adapter.default_options, **default_options()}.items():
            if option == "mms_limit_bytes" and not self.adapter.supports_mms:
                continue
            attrs = {"placeholder": _as_text(default)}
            is_number = isinstance(default, int) or option in _NUMBERS_WITHOUT_DEFAULT
            kind = forms.IntegerField if is_number else forms.CharField
            widget: forms.Widget = forms.NumberInput(attrs=attrs) if is_number else forms.TextInput(attrs=attrs)
            if option == "stop_reply":
                widget = forms.Textarea(attrs=attrs | {"rows": 2})
            name = f"option-{option}"
            self.fields[name] = kind(
                label=_OPTION_LABELS.get(option, option),
                required=False,
                widget=widget,
                help_text=_OPTION_HELP.get(option, "Empty: as shown." if default is not None else ""),
            )
            names.append(name)
        return names

    @property
    def carrier(self) -> str:
        return self.adapter.code

    def credentials(self) -> dict[str, str]:
        """The credentials that were filled in."""
        fields = self.adapter.credential_fields
        given = {field.name: self.cleaned_data[self._credential_name(field)] for field in fields}
        return {name: value for name, value in given.items() if value}

    def options(self) -> dict[str, Any]:
        """The options that were changed; None goes back to the default."""
        changed = [name.removeprefix("option-") for name in self.changed_data if name.startswith("option-")]
        return {name: self._option(name) for name in changed}

    def _option(self, name: str) -> Any:
        value = self.cleaned_data[f"option-{name}"]
        if name == "allowed_countries" and value:
            return [code.strip() for code in value.split(",") if code.strip()]
        return value if value not in ("", None) else None

    def plain(self, *, changed_only: bool) -> dict[str, Any]:
        """Name, switches and prompt."""
        names = [name for name in ("name", "opt_in_prompt", *_TOGGLES) if name in self.fields]
        return {name: self.cleaned_data[name] for name in names if not changed_only or name in self.changed_data}

    def field_names(self) -> dict[str, str]:
        """The service's names of fields, with ours."""
        credentials = {
            f"credentials.{field.name}": self._credential_name(field) for field in self.adapter.credential_fields
        }
        options = {name.replace("option-", "options."): name for name in self.fields if name.startswith("option-")}
        return {**credentials, **options}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
