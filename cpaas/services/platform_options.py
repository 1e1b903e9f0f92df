"""The options of a platform: names, types and ranges (contracts section 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cpaas import transport
from cpaas.carriers.registry import get_carrier
from portal.countries import require_country
from portal.problems import Problem


def _whole(low: int, high: int) -> Callable[[Any], Any]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"Give a whole number from {low} to {high}.")
        return value

    return check


def _text(longest: int) -> Callable[[Any], Any]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or "\x00" in value:
            raise ValueError(f"Give a text of at most {longest} characters.")
        return value

    return check


def _countries(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise ValueError("Give a list of two-letter country codes.")
    try:
        return sorted({require_country(code, "allowed_countries") for code in value})
    except Problem as problem:
        raise ValueError(problem.detail) from problem


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "allowed_countries": _countries,
    "per_number_per_minute": _whole(1, 100_000),
    "per_number_per_day": _whole(1, 10_000_000),
    "per_platform_per_minute": _whole(1, 10_000_000),
    "per_platform_per_day": _whole(1, 1_000_000_000),
    "queue_ttl_s": _whole(1, 7 * 86_400),
    "mms_limit_bytes": _whole(1, 5 * 1024 * 1024),
    "stop_reply": _text(320),
    "brand_id": _text(40),
    "campaign_id": _text(40),
}


def merge_options(carrier: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with `new` over it; None goes back to the default. Raises Problem `invalid` naming what is wrong."""
    adapter = get_carrier(carrier)
    switches = {switch.name for switch in adapter.switches}
    merged = dict(old)
    errors: dict[str, list[str]] = {}
    for name, value in new.items():
        if value is None or value == "":
            merged.pop(name, None)
            continue
        try:
            if name in switches:
                merged[name] = _switch(value)
            else:
                merged[name] = _url(value) if name in adapter.default_options else _option(name)(value)
        except ValueError as error:
            errors[f"options.{name}"] = [str(error)]
    if errors:
        raise Problem("invalid", " ".join(found[0] for found in errors.values()), errors=errors)
    return merged


def _option(name: str) -> Callable[[Any], Any]:
    if name not in OPTIONS:
        raise ValueError("There is no such option.")
    return OPTIONS[name]


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Give true or false.")
    return value


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("Give a URL.")
    transport.check_base_url(value)
    return value.rstrip("/")
