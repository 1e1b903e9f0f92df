"""What a carrier tells later about a text it took: the plan, and the words of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

MODES = ("auto", "manual", "none")


@dataclass(frozen=True)
class Plan:
    """Which receipts follow a text by themselves. `to` None = every text without a plan of its own.

    auto: `sequence`, each `delay_s` after the one before (the first after the answer), `copies` times each.
    manual: only what is ordered. none: nothing is ever told, but a look-up shows the end of `sequence`.
    """

    mode: str = "auto"
    sequence: list[str] = field(default_factory=lambda: ["sent", "delivered"])
    delay_s: float = 0.1
    copies: int = 1
    reverse: bool = False
    before_answer: bool = False
    to: str | None = None

    @property
    def words(self) -> list[str]:
        return self.sequence[::-1] if self.reverse else self.sequence

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Plans:
    """The plan for everybody and those for single recipients."""

    def __init__(self) -> None:
        self._plans: dict[str | None, Plan] = {None: Plan()}

    def put(self, plan: Plan) -> None:
        self._plans[plan.to] = plan

    def of(self, to: str) -> Plan:
        return self._plans.get(to) or self._plans[None]

    def rows(self) -> list[Plan]:
        return list(self._plans.values())
