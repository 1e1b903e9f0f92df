"""Forms of the staff site: the product's look for plain fields, and a service's Problem shown at the right field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Fieldset, Layout
from django import forms
from django.forms.widgets import Input
from django.http import HttpResponse
from unfold.widgets import (
    INPUT_CLASSES,
    SELECT_CLASSES,
    SWITCH_CLASSES,
    TEXTAREA_CLASSES,
    UnfoldAdminSelectWidget,
)

from portal.problems import Problem
from portal.time_zones import time_zone_names

FieldSets = Sequence[tuple[str, Sequence[str]]]

_CLASSES: tuple[tuple[type[forms.Widget], list[str]], ...] = (
    (forms.CheckboxInput, SWITCH_CLASSES),
    (forms.Textarea, TEXTAREA_CLASSES),
    (forms.Select, SELECT_CLASSES),
    (Input, INPUT_CLASSES),
)


class StaffFormMixin:
    """Gives fields declared by hand the look that model fields get, and groups them.

    `fieldsets`: (heading, field names); names a form does not have are left out. Those headed by a name in `folded`
    are folded away until opened.
    """

    fieldsets: FieldSets = ()
    folded: Sequence[str] = ()
    retry_after_s: int | None = None
    """Seconds to wait when it was refused for too many attempts."""
    fields: dict[str, forms.Field]
    errors: Any

    def dress(self) -> None:
        for field in self.fields.values():
            widget = field.widget
            if "class" in widget.attrs:
                continue
            classes = next((found for kind, found in _CLASSES if isinstance(widget, kind)), None)
            if classes:
                widget.attrs["class"] = " ".join(classes)

    @property
    def helper(self) -> FormHelper:
        helper = FormHelper()
        helper.form_tag = False
        helper.include_media = False
        helper.form_class = "form-horizontal"
        named = {name for _, names in self.fieldsets for name in names}
        rest = [name for name in self.fields if name not in named]
        groups = [(title, [name for name in names if name in self.fields]) for title, names in self.fieldsets]
        groups = [(title, names) for title, names in [*groups, ("", rest)] if names]
        helper.layout = Layout(*(self._group(title, names) for title, names in groups))
        return helper

    def _group(self, title: str, names: Sequence[str]) -> Fieldset:
        if title not in self.folded:
            return Fieldset(title, *names)
        has_errors = any(name in self.errors for name in names)
        return Fieldset(title, *names, template="portal/parts/folded.html", css_class="p-open" if has_errors else "")


class StaffForm(StaffFormMixin, forms.Form):
    """A form of an own page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dress()


class StaffModelForm(StaffFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    """The form of a ModelAdmin. It checks and never saves: a service does."""

    # Django's metaclass collects them.
    declared_fields: ClassVar[dict[str, forms.Field]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._show_declared()
        self.dress()

    def _show_declared(self) -> None:
        """Fields declared by hand start with the row's values, or the model's defaults, as well; passwords never do."""
        shown = [
            name for name, field in self.declared_fields.items() if not isinstance(field.widget, forms.PasswordInput)
        ]
        self.initial = {**forms.model_to_dict(self.instance, fields=shown), **self.initial}

    def save(self, commit: bool = True) -> Any:
        raise TypeError("Forms of the staff site do not save; services do.")


def changes_of(form: forms.BaseForm, allowed: set[str]) -> dict[str, Any]:
    """What the form changed, of the fields a service takes."""
    return {name: form.cleaned_data[name] for name in form.changed_data if name in allowed}


def values_of(form: forms.BaseForm, allowed: set[str]) -> dict[str, Any]:
    """All values of the fields a service takes."""
    return {name: value for name, value in form.cleaned_data.items() if name in allowed}


def show_problem(form: StaffForm | StaffModelForm, problem: Problem, names: Mapping[str, str] | None = None) -> None:
    """Put the sentences of a Problem at their fields, what has no field on top.

    `names` maps the service's names to the form's where they differ.
    """
    form.retry_after_s = problem.retry_after_s
    shown = False
    for name, sentences in problem.errors.items():
        field = (names or {}).get(name, name)
        for sentence in sentences:
            form.add_error(field if field in form.fields else None, sentence)
            shown = True
    if not shown:
        form.add_error(None, problem.detail)


def told_to_wait(response: HttpResponse, form: Any) -> HttpResponse:
    """The answer, as 429 when the form was refused for too many attempts."""
    wait = getattr(form, "retry_after_s", None)
    if wait is not None:
        response.status_code = 429
        response["Retry-After"] = str(wait)
    return response


def present_password_field() -> forms.CharField:
    """The password once more (accounts.require_password)."""
    return forms.CharField(
        label="Present password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


def time_zone_field(*, empty: str, label: str = "Time zone") -> forms.ChoiceField:
    """A choice of time zones; `empty` says what holds when none is chosen, "" when one must be."""
    names = [(name, name) for name in sorted(time_zone_names())]
    return forms.ChoiceField(
        label=label,
        choices=[("", empty), *names] if empty else names,
        required=not empty,
        widget=UnfoldAdminSelectWidget(),
    )


def country_field(*, empty: str = "", label: str = "Country") -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=2,
        required=not empty,
        help_text=f"Two letters, for example US or GB.{' ' + empty if empty else ''}",
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 2}),
    )
