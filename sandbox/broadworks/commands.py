"""The OCI commands that the simulator knows. Whoever needs another adds a function and a line in `COMMANDS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.broadworks.users import Device, User
from sandbox.broadworks.wire import OciError, Request, Response, Table

if TYPE_CHECKING:
    from sandbox.broadworks.party import Broadworks

IMP_SERVICE = "Integrated IMP"
SUCCESS = Response()


def user_of(party: Broadworks, request: Request) -> User:
    user = party.users.get(request.user_id)
    if user is None:
        raise OciError("4008", f"User not found: {request.user_id}")
    return user


def device_of(party: Broadworks, request: Request) -> Device:
    place = request.fields.get("serviceProviderId"), request.fields.get("groupId")
    name = request.fields.get("deviceName")
    for user in party.users.values():
        if user.device and user.device.name == name and (user.service_provider, user.group) == place:
            return user.device
    raise OciError("4501", f"Access device not found: {name}")


def is_assigned(party: Broadworks, request: Request) -> Response:
    user = user_of(party, request)
    return Response("UserServiceIsAssignedResponse", {"isAssigned": user.assigned})


def list_services(party: Broadworks, request: Request) -> Response:
    user = user_of(party, request)
    rows = [[IMP_SERVICE, "true" if user.assigned else "false"]]
    table = Table(["Service Name", "Assigned"], rows)
    return Response("UserServiceGetAssignmentListResponse", {"userServicesAssignmentTable": table})


def assign(party: Broadworks, request: Request) -> Response:
    user = user_of(party, request)
    if request.fields.get("serviceName") != IMP_SERVICE:
        raise OciError("4400", f"Service not authorized: {request.fields.get('serviceName')}")
    user.assigned = True
    return SUCCESS


def unassign(party: Broadworks, request: Request) -> Response:
    user = user_of(party, request)
    user.assigned = user.active = False
    return SUCCESS


def get_imp(party: Broadworks, request: Request) -> Response:
    user = _assigned(party, request)
    imp_id = user.imp_id(party.imp_domain) or None
    fields = {"isActive": user.active, "impId": imp_id, "isAlternateImpId": user.own_imp_id is not None}
    return Response("UserIntegratedIMPGetResponse21sp1", fields)


def modify_imp(party: Broadworks, request: Request) -> Response:
    _assigned(party, request).active = request.flag("isActive")
    return SUCCESS


def generate_imp_password(party: Broadworks, request: Request) -> Response:
    """Its value is told to nobody."""
    party.set_imp_password(_assigned(party, request), "generated-by-the-server")
    return SUCCESS


def get_user(party: Broadworks, request: Request) -> Response:
    user = user_of(party, request)
    endpoint = user.device and {
        "accessDevice": {"deviceLevel": "Group", "deviceName": user.device.name},
        "linePort": user.login,
    }
    fields = {
        "serviceProviderId": user.service_provider,
        "groupId": user.group,
        "lastName": user.last_name,
        "firstName": user.first_name,
        "phoneNumber": user.phone_number or None,
        "extension": user.extension or None,
        "language": "English",
        "timeZone": "America/New_York",
        "mobilePhoneNumber": user.mobile,
        "emailAddress": user.email or None,
        "accessDeviceEndpoint": endpoint,
        "countryCode": user.country_code,
        "nationalPrefix": "0" if user.country_code == "44" else None,
        "impId": user.imp_id(party.imp_domain) or None,
    }
    return Response("UserGetResponse23V2", fields)


def modify_user(party: Broadworks, request: Request) -> Response:
    """With Integrated IMP assigned and active `impPassword` is all it takes of the messaging account."""
    user = user_of(party, request)
    if "impId" in request.fields and user.assigned and user.active:
        raise OciError("27000", "The IM&P ID cannot be modified while Integrated IMP is active.")
    if "impPassword" in request.fields:
        party.set_imp_password(user, request.fields["impPassword"])
    return SUCCESS


def get_system_imp(party: Broadworks, request: Request) -> Response:
    fields = {
        "serviceDomain": party.imp_domain,
        "servicePort": "5222",
        "boshURL": f"https://{party.imp_domain}/http-bind",
        "addServiceProviderInIMPUserId": False,
        "allowIMPPasswordRetrieval": False,
    }
    return Response("SystemIntegratedIMPGetResponse25", fields)


def get_shared_calls(party: Broadworks, request: Request) -> Response:
    user_of(party, request)
    table = Table(["Device Level", "Device Name", "Device Type", "Line/Port", "SIP Contact"], [])
    return Response("UserSharedCallAppearanceGetResponse16sp2", {"maxAppearances": "10", "endpointTable": table})


def list_users(party: Broadworks, request: Request) -> Response:
    place = request.fields.get("serviceProviderId"), request.fields.get("GroupId")
    headings = ["User Id", "Last Name", "First Name", "Department", "Phone Number", "Extension", "Email Address"]
    rows = [
        [user.login, user.last_name, user.first_name, "", user.phone_number, user.extension, user.email]
        for user in party.users.values()
        if (user.service_provider, user.group) == place
    ]
    return Response("UserGetListInGroupResponse", {"userTable": Table(headings, rows)})


def get_device(party: Broadworks, request: Request) -> Response:
    fields = {"deviceType": device_of(party, request).kind, "protocol": "SIP 2.0", "status": "Online"}
    return Response("GroupAccessDeviceGetResponse18sp1", fields)


def list_tags(party: Broadworks, request: Request) -> Response:
    rows = [[name, value, value] for name, value in device_of(party, request).tags.items()]
    table = Table(["Tag Name", "Tag Value", "Actual Tag Value"], rows)
    return Response("GroupAccessDeviceCustomTagGetListResponse", {"deviceCustomTagsTable": table})


def add_tag(party: Broadworks, request: Request) -> Response:
    device, name = device_of(party, request), request.fields.get("tagName", "")
    if name in device.tags:
        raise OciError("4520", f"Custom tag already exists: {name}")
    device.tags[name] = request.fields.get("tagValue", "")
    return SUCCESS


def modify_tag(party: Broadworks, request: Request) -> Response:
    device, name = device_of(party, request), request.fields.get("tagName", "")
    if name not in device.tags:
        raise OciError("4521", f"Custom tag not found: {name}")
    device.tags[name] = request.fields.get("tagValue", "")
    return SUCCESS


def rebuild_config(party: Broadworks, request: Request) -> Response:
    device_of(party, request).rebuilt += 1
    return SUCCESS


def reset_device(party: Broadworks, request: Request) -> Response:
    device_of(party, request).reset += 1
    return SUCCESS


def _assigned(party: Broadworks, request: Request) -> User:
    user = user_of(party, request)
    if not user.assigned:
        raise OciError("4410", f"Service not assigned: {IMP_SERVICE}")
    return user


COMMANDS: dict[str, Callable[[Broadworks, Request], Response]] = {
    "UserServiceIsAssignedRequest": is_assigned,
    "UserServiceGetAssignmentListRequest": list_services,
    "UserServiceAssignListRequest": assign,
    "UserServiceUnassignListRequest": unassign,
    "UserIntegratedIMPGetRequest21sp1": get_imp,
    "UserIntegratedIMPModifyRequest": modify_imp,
    "UserIntegratedIMPGeneratePasswordRequest": generate_imp_password,
    "UserGetRequest23V2": get_user,
    "UserModifyRequest22": modify_user,
    "SystemIntegratedIMPGetRequest25": get_system_imp,
    "UserSharedCallAppearanceGetRequest16sp2": get_shared_calls,
    "UserGetListInGroupRequest": list_users,
    "GroupAccessDeviceGetRequest18sp1": get_device,
    "GroupAccessDeviceCustomTagGetListRequest": list_tags,
    "GroupAccessDeviceCustomTagAddRequest": add_tag,
    "GroupAccessDeviceCustomTagModifyRequest": modify_tag,
    "GroupCPEConfigRebuildDeviceConfigFileRequest": rebuild_config,
    "GroupCPEConfigResetDeviceRequest": reset_device,
}
