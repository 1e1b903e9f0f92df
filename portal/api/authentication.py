"""Who calls: a staff token in the provisioning API, a device token in the end-user API."""

from __future__ import annotations

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from portal.models import Device, EndUser, PortalAccount, StaffToken
from portal.services import tokens


def bearer_of(header: str) -> str:
    """The token of an Authorization header. Raises Problem `unauthenticated` (401)."""
    scheme, _, plain = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not plain.strip():
        raise tokens.unauthenticated()
    return plain.strip()


class StaffTokenAuthentication(BaseAuthentication):
    """`request.user` is the PortalAccount, `request.auth` its StaffToken. Raises Problem (401)."""

    def authenticate(self, request: Request) -> tuple[PortalAccount, StaffToken]:
        return tokens.staff_of_token(bearer_of(request.headers.get("Authorization", "")))


class DeviceTokenAuthentication(BaseAuthentication):
    """`request.user` is the EndUser, `request.auth` the Device. Raises Problem (401)."""

    def authenticate(self, request: Request) -> tuple[EndUser, Device]:
        device = tokens.device_of_token(bearer_of(request.headers.get("Authorization", "")))
        return device.user, device


class StaffTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = StaffTokenAuthentication
    name = "staffToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token made by POST provisioning/tokens/."}


class DeviceTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token made by POST login/."}
