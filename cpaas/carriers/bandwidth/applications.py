"""The application that our numbers at Bandwidth belong to, and where it posts what happens to them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from urllib.parse import quote_plus
from xml.etree.ElementTree import Element, SubElement

from cpaas.carriers.bandwidth.calls import ask_dashboard, find, text_of
from cpaas.carriers.base import CarrierAccount, Hook, NotTaken, Operation, Refused
from cpaas.carriers.wire import same_path

_INBOUND, _OUTBOUND = "InboundCallbackUrl", "OutboundCallbackUrl"
_INBOUND_KEYS, _OUTBOUND_KEYS = "InboundCallbackCreds", "OutboundCallbackCreds"
# One address for both directions, from before there were two.
_BOTH, _BOTH_KEYS = "CallbackUrl", "CallbackCreds"
_OURS = (_INBOUND, _OUTBOUND, _INBOUND_KEYS, _OUTBOUND_KEYS, _BOTH, _BOTH_KEYS)
_REQUESTED = "RequestedCallbackTypes"
_NEEDED_EVENTS = ("message-delivered", "message-failed")


def read(account: CarrierAccount) -> Operation[Element]:
    """The application. Raises Refused when there is none with this ID, or it is not for texts."""
    try:
        answer = yield from ask_dashboard(account, _path(account))
    except Refused as error:
        if error.code == "404":
            raise Refused(
                "Bandwidth has no application with this Application ID. Please copy it again.", "no_application"
            ) from error
        raise
    application = find(answer, "Application") if answer is not None else None
    if application is None:
        raise NotTaken("Bandwidth did not show the application.", "unreadable")
    service = text_of(application, "ServiceType")
    if service and service != "Messaging-V2":
        raise Refused(f"The application at Bandwidth is for {service}; choose one for messaging.", "wrong_application")
    return application


def lead_to_us(account: CarrierAccount, application: Element) -> Operation[Hook]:
    """Give the application our two addresses and the name and password that its calls shall carry.

    Also when the addresses are ours already: what its calls carry now, it does not show.
    """
    wanted = _without(application)
    _add(wanted, _INBOUND, account.inbound_url)
    _add(wanted, _OUTBOUND, account.status_url)
    for name in (_INBOUND_KEYS, _OUTBOUND_KEYS):
        user, password = account.credentials["callback_user"], account.credentials["callback_password"]
        _add_keys(wanted, name, user, password)
    requested = find(wanted, _REQUESTED)
    if requested is not None:
        asked = {event.text for event in requested}
        for event in _NEEDED_EVENTS:
            if event not in asked:
                _add(requested, "CallbackType", event)
    answer = yield from ask_dashboard(account, _path(account), body=wanted)
    if text_of(answer, _INBOUND) != account.inbound_url:
        raise NotTaken("Bandwidth accepted the addresses of the application but does not show them.", "hook_not_listed")
    return Hook(account.credentials["application_id"], "", account.inbound_url)


def give_back(account: CarrierAccount, application: Element, former: Mapping[str, str]) -> Operation[None]:
    """Let the application post where it did before us; a password that it did not show is to be entered there again."""
    wanted = _without(application)
    for name in (_BOTH, _INBOUND, _OUTBOUND):
        if former.get(name):
            _add(wanted, name, former[name])
    for name in (_BOTH_KEYS, _INBOUND_KEYS, _OUTBOUND_KEYS):
        if former.get(f"{name}.UserId"):
            _add_keys(wanted, name, former[f"{name}.UserId"], former.get(f"{name}.Password", ""))
    yield from ask_dashboard(account, _path(account), body=wanted)


def hook(account: CarrierAccount, application: Element) -> Hook:
    return Hook(account.credentials["application_id"], "", inbound_url(application))


def inbound_url(application: Element) -> str:
    return text_of(application, _INBOUND) or text_of(application, _BOTH)


def is_ours(account: CarrierAccount, application: Element) -> bool:
    """Whether its inbound texts come to us, perhaps at another public address the portal had before."""
    return same_path(inbound_url(application), account.inbound_url)


def former(account: CarrierAccount, application: Element) -> dict[str, str]:
    """Where it posted before us; empty when that was nowhere, or is ours already."""
    if not inbound_url(application) or is_ours(account, application):
        return {}
    found = {name: text_of(application, name) for name in (_BOTH, _INBOUND, _OUTBOUND)}
    for name in (_BOTH_KEYS, _INBOUND_KEYS, _OUTBOUND_KEYS):
        keys = find(application, name)
        found |= {f"{name}.{part}": text_of(keys, part) for part in ("UserId", "Password")}
    return {name: value for name, value in found.items() if value}


def _path(account: CarrierAccount) -> str:
    return f"/applications/{quote_plus(account.credentials['application_id'])}"


def _without(application: Element) -> Element:
    """The application as a PUT takes it, which replaces all: with what is not ours to change as it is."""
    wanted = Element("Application")
    for child in application:
        if child.tag not in (*_OURS, "ApplicationId"):
            wanted.append(deepcopy(child))
    return wanted


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text


def _add_keys(parent: Element, name: str, user: str, password: str) -> None:
    keys = SubElement(parent, name)
    _add(keys, "UserId", user)
    if password:
        _add(keys, "Password", password)
