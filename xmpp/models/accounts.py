"""Integrated IM&P of a user: whether they have it, their JID, and how their session stands (S0.5-S0.24)."""

from __future__ import annotations

import zlib
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from portal.encryption import EncryptedTextField
from portal.scoping import TenantModel
from xmpp.states import AccountStatus, PasswordState, Work

# Accounts are spread over so many slots for good; shards are slots modulo their number, which may so be changed.
SLOTS = 4096


def slot_of(jid: str) -> int:
    """The slot of a bare JID."""
    return zlib.crc32(jid.lower().encode()) % SLOTS


class ImpAccount(TenantModel):
    """One a user, made when staff or an import first assign the service. Nothing but our services changes `imp_id`.

    `pending_password` is what BroadWorks is being told, or may have been told by somebody who died: it becomes
    `password` or is taken back, so that what both sides have is never different for long. `work` is what is left to do
    there, due at `work_due_at`; whoever does it holds the account by `claim`. The levels are copies of the user's, so
    that each level's list is one index range (architecture, rule 7).
    """

    user = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="imp")
    system_provider = models.ForeignKey("portal.SystemProvider", models.PROTECT, related_name="+", editable=False)
    reseller = models.ForeignKey("portal.Reseller", models.PROTECT, related_name="+", editable=False, db_index=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    assigned = models.BooleanField(default=False)
    enabled = models.BooleanField(default=False)
    imp_id = models.CharField("IM&P ID", max_length=320, blank=True, default="", editable=False)
    slot = models.PositiveSmallIntegerField(default=0, editable=False)
    password = EncryptedTextField(blank=True, default="", editable=False)
    password_state = models.CharField(
        max_length=24, choices=PasswordState.choices, default=PasswordState.NONE, editable=False
    )
    password_set_at = models.DateTimeField(null=True, editable=False)
    pending_password = EncryptedTextField(blank=True, default="", editable=False)
    work = models.CharField(max_length=10, choices=Work.choices, blank=True, default="", editable=False)
    work_due_at = models.DateTimeField(null=True, editable=False)
    work_tries = models.PositiveSmallIntegerField(default=0, editable=False)
    work_detail = models.CharField(max_length=300, blank=True, default="", editable=False)
    claim = models.UUIDField(null=True, editable=False)
    # Grows with each change of what the session depends on; the bridge then connects anew.
    version = models.PositiveIntegerField(default=0, editable=False)
    status = models.CharField(
        max_length=24, choices=AccountStatus.choices, default=AccountStatus.OFFLINE, editable=False
    )
    status_reason = models.CharField(max_length=300, blank=True, default="", editable=False)
    status_at = models.DateTimeField(default=timezone.now, editable=False)
    # The archive id of the newest message of which all older ones are stored too (XEP-0313). "*": there was none yet.
    archive_cursor = models.CharField(max_length=255, blank=True, default="", editable=False)
    last_message_received_at = models.DateTimeField(null=True, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "user__group_id",
        "user": "pk",
    }

    class Meta:
        verbose_name = "IM&P account"
        constraints = [models.UniqueConstraint(Lower("imp_id"), condition=~Q(imp_id=""), name="imp_id_once")]
        indexes = [
            models.Index(fields=["slot"], condition=Q(assigned=True, enabled=True), name="imp_account_slot"),
            models.Index(fields=["system_provider", "user"], name="imp_account_sp"),
            models.Index(fields=["reseller", "user"], name="imp_account_reseller"),
            models.Index(fields=["status", "user"], name="imp_account_status_all"),
            models.Index(fields=["system_provider", "status", "user"], name="imp_account_status_sp"),
            models.Index(fields=["reseller", "status", "user"], name="imp_account_status_reseller"),
            models.Index(fields=["work_due_at"], condition=~Q(work=""), name="imp_account_due"),
        ]

    def __str__(self) -> str:
        return self.imp_id or "IM&P account without an ID"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.system_provider_id = self.user.system_provider_id
            self.reseller_id = self.user.reseller_id
        super().save(*args, **kwargs)

    @property
    def is_on(self) -> bool:
        """Assigned and enabled: only then there is any XMPP for the user (S0.5)."""
        return self.assigned and self.enabled
