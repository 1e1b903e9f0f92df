"""The broker's table of authorizations: hooks for inbound texts and, among them, the account's outbound keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sandbox.store import Hook


class Authorizations:
    """Rows under one count of ids; the table knows no update and lets a number have several hooks."""

    def __init__(self, outbound_keys: Iterable[str]) -> None:
        self._ids = itertools.count(1)
        self.outbound: dict[str, str] = {str(next(self._ids)): key for key in outbound_keys}
        self.hooks: dict[str, Hook] = {}
        self._by_tn: dict[str | None, list[Hook]] = {}

    def add(
        self, *, tn: str | None, url: str, api_key: str | None, header_name: str | None, header_value: str | None
    ) -> Hook:
        hook = Hook(str(next(self._ids)), tn, url, api_key=api_key, header_name=header_name, header_value=header_value)
        self.hooks[hook.id] = hook
        self._by_tn.setdefault(tn, []).append(hook)
        return hook

    def knows(self, auth_id: str) -> bool:
        return auth_id in self.hooks or auth_id in self.outbound

    def remove(self, auth_id: str) -> None:
        """Removes a hook, or an outbound key: that key opens nothing from then on."""
        self.outbound.pop(auth_id, None)
        hook = self.hooks.pop(auth_id, None)
        if hook is not None:
            self._by_tn[hook.tn].remove(hook)

    def replace_first_key(self, key: str) -> None:
        """The key under which the portal sends, also when its row had been removed."""
        first = min(map(int, self.outbound), default=None)
        self.outbound[str(first or next(self._ids))] = key

    def hook_for(self, tn: str) -> Hook | None:
        """The newest hook of the number, else the newest of the company, else None: the text is dropped."""
        rows = self._by_tn.get(tn) or self._by_tn.get(None)
        return rows[-1] if rows else None
