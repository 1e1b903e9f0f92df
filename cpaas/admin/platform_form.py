"""The form of a CPaaS platform: the carrier's credentials, write-only, and its options (S4.9–S4.19, R9)."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from cpaas.carriers.base import Carrier
from cpaas.carriers.registry import CARRIERS, get_carrier
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
    "queue_ttl_s": "Longest wait of a message, in seconds",
    "mms_limit_bytes": "Largest MMS, in bytes",
    "stop_reply": "Answer to STOP",
    "brand_id": "10DLC brand",
    "campaign_id": "10DLC campaign",
}
_OPTION_HELP = {
    "allowed_countries": "Two-letter codes with commas between. Empty: the system provider's country.",
    "stop_reply": "Empty: no answer is sent.",
}


class PlatformForm(StaffForm):
    """`platform` None is a new one. Empty secrets keep what is stored, empty options mean the default."""

    folded = ("Advanced",)

    def __init__(self, *args: Any, platform: CpaasPlatform | None, **kwargs: Any) -> None:
        self.platform = platform
        carriers = [get_carrier(platform.carrier)] if platform else list(CARRIERS.values())
        only = carriers[0] if len(carriers) == 1 else None
        kwargs.setdefault("initial", self._initial(only))
        super().__init__(*args, **kwargs)
        if platform is None:
            choices = [(carrier.code, carrier.label) for carrier in carriers]
            self.fields["carrier"] = forms.ChoiceField(
                label="Carrier", choices=choices, widget=UnfoldAdminSelectWidget()
            )
        self.fields["name"] = forms.CharField(max_length=120, help_text="What staff see when they choose a platform.")
        groups = [("Account", ["carrier", "name", *self._credentials(carriers, is_choice=only is None)])]
        groups.append(("Users", [*self._toggles(only), "opt_in_prompt"]))
        groups.append(("Advanced", self._options(carriers, is_choice=only is None)))
        self.fieldsets = groups
        self.dress()

    def _initial(self, only: Carrier | None) -> dict[str, Any]:
        platform = self.platform
        if platform is None:
            return {
                "name": only.label if only else "",
                "user_confirmation_required": True,
                "opt_in_prompt": DEFAULT_OPT_IN_PROMPT,
            }
        plain = {name: getattr(platform, name) for name in ("name", "opt_in_prompt", *_TOGGLES)}
        return plain | {f"option-{name}": _as_text(value) for name, value in platform.options.items()}

    def _credentials(self, carriers: list[Carrier], *, is_choice: bool) -> list[str]:
        names = []
        for carrier in carriers:
            for credential in carrier.credential_fields:
                stored = self.platform.credentials.get(credential.name) if self.platform else None
                kept = f"Stored: {mask(stored)}. Leave it empty to keep it." if stored else ""
                help_text = kept if credential.generated and kept else f"{credential.help_text} {kept}"
                attrs = {"autocomplete": "new-password", "spellcheck": "false"}
                if is_choice:
                    attrs["data-needs"] = f"carrier={carrier.code}"
                widget = forms.PasswordInput(attrs=attrs) if credential.secret else forms.TextInput(attrs=attrs)
                name = f"{carrier.code}-{credential.name}"
                self.fields[name] = forms.CharField(
                    label=credential.label, help_text=help_text, required=False, widget=widget
                )
                names.append(name)
        return names

    def _toggles(self, only: Carrier | None) -> list[str]:
        for name in _TOGGLES:
            if name == "mms" and only is not None and not only.supports_mms:
                continue  # R13
            model_field: Any = CpaasPlatform._meta.get_field(name)
            self.fields[name] = model_field.formfield()
        prompt: Any = CpaasPlatform._meta.get_field("opt_in_prompt")
        self.fields["opt_in_prompt"] = prompt.formfield(
            label="Opt-in prompt", required=False, widget=forms.Textarea(attrs={"rows": 4})
        )
        return [name for name in _TOGGLES if name in self.fields]

    def _options(self, carriers: list[Carrier], *, is_choice: bool) -> list[str]:
        names = []
        urls = {name: (url, carrier.code) for carrier in carriers for name, url in carrier.default_options.items()}
        for option, default in {**{name: url for name, (url, _) in urls.items()}, **default_options()}.items():
            attrs = {"placeholder": _as_text(default)}
            if is_choice and option in urls:
                attrs["data-needs"] = f"carrier={urls[option][1]}"
            kind = forms.IntegerField if isinstance(default, int) else forms.CharField
            widget = forms.NumberInput(attrs=attrs) if kind is forms.IntegerField else forms.TextInput(attrs=attrs)
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
        return self.platform.carrier if self.platform else self.cleaned_data["carrier"]

    def credentials(self) -> dict[str, str]:
        """The credentials that were filled in."""
        names = [credential.name for credential in get_carrier(self.carrier).credential_fields]
        given = {name: self.cleaned_data[f"{self.carrier}-{name}"] for name in names}
        return {name: value for name, value in given.items() if value}

    def options(self) -> dict[str, Any]:
        """The options that were changed; None goes back to the default."""
        foreign = {name for carrier in CARRIERS.values() for name in carrier.default_options}
        foreign -= set(get_carrier(self.carrier).default_options)
        changed = [name.removeprefix("option-") for name in self.changed_data if name.startswith("option-")]
        return {name: self._option(name) for name in changed if name not in foreign}

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
            f"credentials.{field.name}": f"{self.carrier}-{field.name}"
            for field in get_carrier(self.carrier).credential_fields
        }
        options = {name.replace("option-", "options."): name for name in self.fields if name.startswith("option-")}
        return {**credentials, **options}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
