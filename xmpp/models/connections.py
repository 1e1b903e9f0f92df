"""What a system provider's users are connected to: BroadWorks with its XMPP server, and the SMS gateway's component."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from portal.encryption import EncryptedTextField, readable
from portal.scoping import TenantModel

PORT = [MinValueValidator(1), MaxValueValidator(65535)]
SERVICE_PATH = "/webservice/services/ProvisioningService"
UC_ONE_TYPES = "Business Communicator - PC\nBusiness Communicator - Mobile\nBusiness Communicator - Tablet"


class BroadworksConnection(TenantModel):
    """The BroadWorks of a system provider, and the XMPP server that is preconfigured in it (S0.9, S0.29).

    One a system provider, whose id is its key. Without a host nobody is asked or told, and passwords are only ours.
    The names of the device tags that hold the XMPP credentials in the configuration file of UC-One differ between
    installations; empty means that no file is updated (S0.22). `device_types` has a device type a line: others than
    UC-One are not to be restarted for its sake.
    """

    system_provider = models.OneToOneField(
        "portal.SystemProvider", models.CASCADE, primary_key=True, related_name="broadworks"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    host = models.CharField(
        max_length=255,
        blank=True,
        default="",
        help_text="Of the OCI-P interface. Empty: BroadWorks is neither asked nor told.",
    )
    port = models.PositiveIntegerField(default=2208, validators=PORT)
    transport = models.CharField(max_length=4, default="tcp", choices=[("tcp", "TCP"), ("soap", "SOAP")])
    tls = models.BooleanField(
        "TLS", default=False, help_text="Without it XMPP passwords that are set cross the network in plain."
    )
    soap_path = models.CharField("SOAP path", max_length=200, default=SERVICE_PATH)
    username = models.CharField(max_length=160, blank=True, default="")
    password = EncryptedTextField(blank=True, default="")
    imp_domain = models.CharField("IM&P domain", max_length=255, help_text="Behind the @ of every IM&P ID.")
    xmpp_host = models.CharField("XMPP server", max_length=255, blank=True, default="", help_text="Empty: the domain.")
    xmpp_port = models.PositiveIntegerField("XMPP port", default=5222, validators=PORT)
    xmpp_ca = models.TextField(
        "certificate authority",
        blank=True,
        default="",
        help_text="PEM, when the XMPP server's certificate is not signed by a public one.",
    )
    device_tag_user = models.CharField(
        max_length=80, blank=True, default="%XMPP_USERNAME%", help_text="Holds the IM&P ID. Empty: is not written."
    )
    device_tag_password = models.CharField(
        max_length=80, blank=True, default="%XMPP_PASSWORD%", help_text="Holds the password. Empty: is not written."
    )
    device_types = models.TextField(
        blank=True,
        default=UC_ONE_TYPES,
        help_text="Device types of UC-One, one a line; the user's devices of these types are updated. Empty: of any.",
    )
    # Grows with each change of what a session depends on; the bridge then connects anew.
    version = models.PositiveIntegerField(default=0, editable=False)
    status = models.CharField(max_length=20, blank=True, default="", editable=False)
    status_detail = models.CharField(max_length=300, blank=True, default="", editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "pk"}

    class Meta:
        verbose_name = "BroadWorks connection"

    def __str__(self) -> str:
        return self.host or self.imp_domain

    @property
    def has_password(self) -> bool:
        """Whether there is one, be it one that cannot be decrypted."""
        return bool(readable(self, "password") != "")

    @property
    def tag_names(self) -> tuple[str, str]:
        """The device tags that hold the IM&P ID and the password, "" for none."""
        return self.device_tag_user, self.device_tag_password

    @property
    def kinds_of_device(self) -> list[str]:
        return [line.strip() for line in self.device_types.splitlines() if line.strip()]


class SmsGateway(TenantModel):
    """The XEP-0114 component through which XMPP users of a system provider text: `+12015550100@<domain>`."""

    system_provider = models.OneToOneField(
        "portal.SystemProvider", models.CASCADE, primary_key=True, related_name="sms_gateway"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    enabled = models.BooleanField(default=True)
    domain = models.CharField(max_length=255, help_text="For example sms.example.com.")
    host = models.CharField("server", max_length=255)
    # The operator named the server, so it may stand in our own network.
    host_by_operator = models.BooleanField(default=False, editable=False)
    port = models.PositiveIntegerField(default=5347)
    secret = EncryptedTextField(blank=True, default="")
    version = models.PositiveIntegerField(default=0, editable=False)
    status = models.CharField(max_length=20, blank=True, default="", editable=False)
    status_detail = models.CharField(max_length=300, blank=True, default="", editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "pk"}

    class Meta:
        verbose_name = "SMS gateway"
        constraints = [models.UniqueConstraint(Lower("domain"), name="sms_gateway_domain")]

    def __str__(self) -> str:
        return self.domain
