"""What we ask BroadWorks for, each a small operation. Names of commands and elements are those of the OCI schema.

All raise Refused, Unreachable and Doubtful (`errors`); those that set something may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xmpp.broadworks.documents import Answer, Command, Operation
from xmpp.broadworks.errors import BroadworksError, Doubtful, Refused, Unreachable

IMP_SERVICE = "Integrated IMP"
_GROUP_LEVEL = "Group"


@dataclass(frozen=True)
class SystemImp:
    """The messaging server that is preconfigured in BroadWorks; empty where this administrator may not see it."""

    domain: str = ""


@dataclass(frozen=True)
class ImpState:
    """Integrated IM&P of a user. `imp_id` is the JID, "" while BroadWorks gives none."""

    assigned: bool
    active: bool
    imp_id: str


@dataclass(frozen=True)
class Device:
    """An access device profile of a group."""

    service_provider: str
    group: str
    name: str
    kind: str = ""

    @property
    def key(self) -> dict[str, str]:
        return {"serviceProviderId": self.service_provider, "groupId": self.group, "deviceName": self.name}


@dataclass(frozen=True)
class Profile:
    """A user as BroadWorks has them. Never a password; numbers as written there."""

    user_id: str
    service_provider: str
    group: str
    first_name: str
    last_name: str
    extension: str
    mobile: str
    email: str
    country_code: str
    # The device of the primary line, when it is one of the group's.
    device: Device | None

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


def get_system_imp() -> Operation[SystemImp]:
    """The messaging server. Administrators of a service provider may not ask, which is no failure."""
    try:
        answer = yield Command("SystemIntegratedIMPGetRequest25")
    except Refused:
        return SystemImp()
    return SystemImp(answer.text("serviceDomain"))


def get_imp_state(user_id: str) -> Operation[ImpState]:
    """Whether the service is assigned and active, and the JID (S0.6, S0.8)."""
    assigned = yield Command("UserServiceIsAssignedRequest", {"userId": user_id, "serviceName": IMP_SERVICE})
    if not assigned.flag("isAssigned"):
        return ImpState(assigned=False, active=False, imp_id="")
    answer = yield Command("UserIntegratedIMPGetRequest21sp1", {"userId": user_id})
    return ImpState(assigned=True, active=answer.flag("isActive"), imp_id=answer.text("impId"))


def set_imp_state(user_id: str, *, assigned: bool, active: bool) -> Operation[ImpState]:
    """Assign or unassign the service, switch it on or off, and what is so now; nothing is done twice.

    Refused and Unreachable mean that all is as it was, Doubtful that some of it may have been done.
    """
    try:
        now = yield from get_imp_state(user_id)
    except Doubtful as error:
        raise Unreachable(error.detail, error.code) from error  # that was only a question
    if assigned != now.assigned:
        yield _assignment(user_id, assigned=assigned)
    if assigned and active != now.active:
        yield from _activate(user_id, active=active, was_assigned=now.assigned)
    try:
        return (yield from get_imp_state(user_id))
    except (Refused, Unreachable) as error:
        raise Doubtful(error.detail, error.code) from error


def _assignment(user_id: str, *, assigned: bool) -> Command:
    name = "UserServiceAssignListRequest" if assigned else "UserServiceUnassignListRequest"
    return Command(name, {"userId": user_id, "serviceName": IMP_SERVICE})


def _activate(user_id: str, *, active: bool, was_assigned: bool) -> Operation[None]:
    """What was assigned for nothing is taken back."""
    try:
        yield Command("UserIntegratedIMPModifyRequest", {"userId": user_id, "isActive": active})
    except (Refused, Unreachable) as failure:
        if was_assigned:
            raise
        try:
            yield _assignment(user_id, assigned=False)
        except BroadworksError as error:
            raise Doubtful(failure.detail, failure.code) from error
        raise


def set_imp_password(user_id: str, password: str) -> Operation[None]:
    """The password of the user's messaging account. With the service active BroadWorks takes no other field of it."""
    yield Command("UserModifyRequest22", {"userId": user_id, "impPassword": password}, secrets=(password,))


def get_profile(user_id: str) -> Operation[Profile]:
    answer = yield Command("UserGetRequest23V2", {"userId": user_id})
    return Profile(
        user_id=user_id,
        service_provider=answer.text("serviceProviderId"),
        group=answer.text("groupId"),
        first_name=answer.text("firstName"),
        last_name=answer.text("lastName"),
        extension=answer.text("extension"),
        mobile=answer.text("mobilePhoneNumber"),
        email=answer.text("emailAddress"),
        country_code=answer.text("countryCode"),
        device=_primary_device(answer),
    )


def list_users(service_provider: str, group: str) -> Operation[list[str]]:
    """The ids of all users of a group. The element `GroupId` is written so in the schema."""
    answer = yield Command("UserGetListInGroupRequest", {"serviceProviderId": service_provider, "GroupId": group})
    return [row["User Id"] for row in answer.table("userTable") if row.get("User Id")]


@dataclass(frozen=True)
class Found:
    """What BroadWorks has of a user; without a profile `detail` says why."""

    user_id: str
    profile: Profile | None = None
    imp: ImpState = ImpState(assigned=False, active=False, imp_id="")
    detail: str = ""


def get_users(user_ids: Iterable[str]) -> Operation[list[Found]]:
    """Several users in one session. One whom BroadWorks refuses, or who is gone by now, does not end it."""
    found = []
    for user_id in user_ids:
        try:
            profile = yield from get_profile(user_id)
            found.append(Found(user_id, profile, (yield from get_imp_state(user_id))))
        except Refused as error:
            found.append(Found(user_id, detail=error.detail))
    return found


def list_devices(user_id: str, kinds: Iterable[str]) -> Operation[list[Device]]:
    """The user's group devices of these types, that of the primary line and shared call appearances; of any type when
    none is named."""
    profile = yield from get_profile(user_id)
    devices = [] if profile.device is None else [(yield from _with_kind(profile.device))]
    devices += yield from _shared_devices(user_id, profile)
    wanted = set(kinds)
    return [device for device in dict.fromkeys(devices) if not wanted or device.kind in wanted]


def set_device_tags(device: Device, tags: dict[str, str], secrets: tuple[str, ...] = ()) -> Operation[bool]:
    """Make custom tags of a device what they should be; returns whether any was not."""
    answer = yield Command("GroupAccessDeviceCustomTagGetListRequest", device.key)
    present = {row.get("Tag Name", ""): row.get("Tag Value", "") for row in answer.table("deviceCustomTagsTable")}
    changed = {name: value for name, value in tags.items() if present.get(name) != value}
    for name, value in changed.items():
        verb = "Modify" if name in present else "Add"
        fields = {**device.key, "tagName": name, "tagValue": value}
        yield Command(f"GroupAccessDeviceCustomTag{verb}Request", fields, secrets=secrets)
    return bool(changed)


def push_device_config(device: Device) -> Operation[None]:
    """Write the device's configuration files anew and have the device fetch them."""
    yield Command("GroupCPEConfigRebuildDeviceConfigFileRequest", {**device.key, "force": True})
    yield Command("GroupCPEConfigResetDeviceRequest", device.key)


def _primary_device(answer: Answer) -> Device | None:
    place = "accessDeviceEndpoint/accessDevice"
    name = answer.text(f"{place}/deviceName")
    if answer.text(f"{place}/deviceLevel") != _GROUP_LEVEL or not name:
        return None
    return Device(answer.text("serviceProviderId"), answer.text("groupId"), name)


def _with_kind(device: Device) -> Operation[Device]:
    answer = yield Command("GroupAccessDeviceGetRequest18sp1", device.key)
    return Device(device.service_provider, device.group, device.name, answer.text("deviceType"))


def _shared_devices(user_id: str, profile: Profile) -> Operation[list[Device]]:
    """None when the user has no shared call appearance."""
    try:
        answer = yield Command("UserSharedCallAppearanceGetRequest16sp2", {"userId": user_id})
    except Refused:
        return []
    rows = [row for row in answer.table("endpointTable") if row.get("Device Level") == _GROUP_LEVEL]
    place = profile.service_provider, profile.group
    return [Device(*place, row["Device Name"], row.get("Device Type", "")) for row in rows if row.get("Device Name")]
