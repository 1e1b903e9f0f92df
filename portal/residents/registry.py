"""Which residents there are. Apps register theirs in `ready()`."""

from __future__ import annotations

from django.utils.module_loading import import_string

from portal.residents.resident import Resident

_entries: list[type[Resident] | str] = []


def register(resident: type[Resident] | str) -> None:
    """Make a resident known to every host. As a dotted path it is imported only where residents run."""
    if resident not in _entries:
        _entries.append(resident)


def registered() -> list[type[Resident]]:
    """All residents by name. Raises ValueError when two share one."""
    classes: dict[str, type[Resident]] = {}
    for entry in _entries:
        resident: type[Resident] = import_string(entry) if isinstance(entry, str) else entry
        if classes.setdefault(resident.name, resident) is not resident:
            raise ValueError(f"Two residents are called {resident.name}.")
    return [classes[name] for name in sorted(classes)]
