"""Actions on one row: a POST to an own URL, never a GET, on a row the actor may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Method = Callable[..., str]


@dataclass(frozen=True)
class RowAction:
    """`name` is the last part of the URL. `loss` and `available` name methods of the admin that take the row:
    sentences that say what will be lost, shown on a page before; and whether the button is there at all."""

    name: str
    label: str
    icon: str = ""
    style: str = "default"
    loss: str = ""
    available: str = ""
    method: str = ""


def row_action(
    label: str, *, name: str, icon: str = "", style: str = "default", loss: str = "", available: str = ""
) -> Callable[[Method], Method]:
    """Marks a method `(request, row) -> sentence` of a TenantScopedAdmin as an action.

    The method calls a service and returns what to tell the actor; a Problem of the service is told instead.
    """

    def mark(method: Method) -> Method:
        method.row_action = RowAction(name, label, icon, style, loss, available, method.__name__)  # type: ignore[attr-defined]
        return method

    return mark


def row_actions_of(cls: type) -> list[RowAction]:
    """The actions a class declares, base classes' first, in the order they are written."""
    found: dict[str, RowAction] = {}
    for base in reversed(cls.__mro__):
        for value in vars(base).values():
            action: Any = getattr(value, "row_action", None)
            if isinstance(action, RowAction):
                found[action.name] = action
    return list(found.values())
