from portal.directory.models import Contact, ContactNumber, ContactWord, Directory, FoundName
from portal.models.accounts import Level, PortalAccount, Role
from portal.models.audit import AuditEntry
from portal.models.events import Event, EventStream
from portal.models.idempotency import IdempotencyKey
from portal.models.mail import OutgoingMail
from portal.models.residents import Lease, PeriodicRun, Service
from portal.models.second_factor import RecoveryCode, SecondFactor
from portal.models.settings import UserSettings
from portal.models.tenants import Group, Reseller, SystemProvider
from portal.models.tokens import Device, StaffToken
from portal.models.users import EndUser, Licence

__all__ = [
    "AuditEntry",
    "Contact",
    "ContactNumber",
    "ContactWord",
    "Device",
    "Directory",
    "EndUser",
    "Event",
    "EventStream",
    "FoundName",
    "Group",
    "IdempotencyKey",
    "Lease",
    "Level",
    "Licence",
    "OutgoingMail",
    "PeriodicRun",
    "PortalAccount",
    "RecoveryCode",
    "Reseller",
    "Role",
    "SecondFactor",
    "Service",
    "StaffToken",
    "SystemProvider",
    "UserSettings",
]
