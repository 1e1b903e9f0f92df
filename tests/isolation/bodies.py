"""What to send: bodies and queries made from the fields that forms and serializers say they have."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from django import forms
from django.db import models
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField
from rest_framework import serializers

from portal.api.fields import Id, Visible, VisibleList
from tests.isolation.routes import Route
from tests.isolation.world import UUID, Party

# A relation of a form or body: its name, the model it points to (None: any), and whether it takes a list.
Relation = tuple[str, type[models.Model] | None, bool]


# --- The API ---------------------------------------------------------------------------------------------------------
def serializer_of(route: Route, method: str) -> serializers.Serializer[Any] | None:
    """What reads the body of a request, None when there is none to read."""
    view = route.view
    if view is None or method not in ("POST", "PATCH", "PUT") or hasattr(view, "act"):
        return None
    chosen = getattr(view, "bodies", {}).get(method, getattr(view, "serializer_class", None))
    return None if chosen is None else chosen(partial=method == "PATCH")


def writable(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    return {name: field for name, field in serializer.fields.items() if not field.read_only}


def api_body(serializer: serializers.Serializer[Any], own: Party) -> dict[str, Any]:
    """A body that could be meant: own rows, texts and choices."""
    given = {name: _api_value(name, field, own) for name, field in writable(serializer).items()}
    return {name: value for name, value in given.items() if value is not None}


def api_relations(serializer: serializers.Serializer[Any]) -> list[Relation]:
    """The fields that hold ids, and texts, which may be read as one."""
    found: list[Relation] = []
    for name, field in writable(serializer).items():
        child = getattr(field, "child", None)
        if isinstance(field, Visible | VisibleList):
            found.append((name, field.queryset.model, isinstance(field, VisibleList)))
        elif isinstance(field, Id | serializers.CharField | serializers.JSONField) and not _is_said(field):
            found.append((name, None, False))
        elif isinstance(child, Id):
            found.append((name, None, True))
    return found


def is_id(serializer: serializers.Serializer[Any], relation: Relation) -> bool:
    """Whether the field takes ids only; a text may be one or anything."""
    field = writable(serializer)[relation[0]]
    return isinstance(field, Visible | VisibleList | Id) or isinstance(getattr(field, "child", None), Id)


def api_choices(serializer: serializers.Serializer[Any]) -> Iterator[dict[str, Any]]:
    """Each choice of each field once: what an id means may hang on another field."""
    yield {}
    for name, field in writable(serializer).items():
        if isinstance(field, serializers.ChoiceField):
            yield from ({name: choice} for choice in list(field.choices)[1:])


def query_fields(route: Route) -> dict[str, Any]:
    """The parameters of a list, without its place."""
    query = getattr(route.view, "query_classes", {}).get("GET")
    fields = query().fields if query else {}
    return {name: field for name, field in fields.items() if name not in ("cursor", "limit")}


def filtered_model(route: Route, name: str) -> type[models.Model] | None:
    """The model behind a filter that is named like a relation of the list's rows."""
    if not hasattr(route.view, "rows"):
        return None
    shown = getattr(getattr(route.view.serializer_class, "Meta", None), "model", None)
    known = {field.name: field.related_model for field in shown._meta.concrete_fields} if shown else {}
    return known.get(name)


def is_paged(route: Route) -> bool:
    query = getattr(route.view, "query_classes", {}).get("GET")
    return bool(query) and "cursor" in query().fields


def _is_said(field: Any) -> bool:
    return isinstance(field, serializers.ChoiceField | serializers.EmailField)


def _api_value(name: str, field: Any, own: Party) -> Any:
    if isinstance(field, Visible):
        return str(own.rows[field.queryset.model][0].pk) if field.required else None
    if isinstance(field, serializers.ChoiceField):
        return next(iter(field.choices))
    if isinstance(field, serializers.EmailField):
        return "probe@example.com"
    if isinstance(field, serializers.BooleanField):
        return False
    if isinstance(field, serializers.IntegerField):
        return field.min_value or 20
    if isinstance(field, serializers.CharField):
        return _text(name, field.max_length) if field.required else None
    if isinstance(field, serializers.Serializer) or not field.required:
        return None
    return str(own.rows[type(own.user)][0].pk) if isinstance(field, Id) else {}


# --- The staff site --------------------------------------------------------------------------------------------------
def form_data(form: forms.BaseForm) -> dict[str, Any]:
    """What a browser would send of a form, with something in what is empty but required."""
    data = {}
    for bound in form:
        value = bound.value()
        if value in (None, "", []) and bound.field.required:
            value = _form_value(bound.name, bound.field)
        if value not in (None, False):
            data[bound.html_name] = [str(getattr(v, "pk", v)) for v in value] if _is_list(value) else str(value)
    return data


def form_relations(form: forms.BaseForm) -> list[Relation]:
    """The fields that choose among rows; where the rows are only shown as choices, their model is not known."""
    found: list[Relation] = []
    for bound in form:
        field: Any = bound.field
        if isinstance(field, ModelChoiceField):
            found.append((bound.html_name, field.queryset.model, isinstance(field, ModelMultipleChoiceField)))
        elif isinstance(field, forms.ChoiceField) and any(UUID.fullmatch(str(key)) for key, _ in field.choices):
            found.append((bound.html_name, None, isinstance(field, forms.MultipleChoiceField)))
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | set) or hasattr(value, "values_list")


def _form_value(name: str, field: forms.Field) -> Any:
    if isinstance(field, ModelChoiceField):
        return getattr(field.queryset.first(), "pk", "")
    if isinstance(field, forms.ChoiceField):
        return next((key for key, _ in field.choices if key), "")
    if isinstance(field, forms.EmailField):
        return "probe@example.com"
    if isinstance(field, forms.IntegerField):
        return field.min_value or 1
    return _text(name, getattr(field, "max_length", None))


def _text(name: str, longest: int | None) -> str:
    """A text that could stand in a field of that name."""
    known = {"password": "correct horse battery", "to": "+12019450199", "number": "2019440199", "default_country": "US"}
    text = known.get(name, f"probe-{uuid.uuid4().hex[:8]}")
    return text[:longest] if longest else text
