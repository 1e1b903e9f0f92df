"""Attachments: files that go out or came in with a message."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import ClassVar

from django.conf import settings
from django.db import models

from cpaas.file_types import name_in_url
from portal.models.base import Row

FOLDER = "attachments"
THUMBNAIL_NAME = "thumbnail.jpg"


class AttachmentState(models.TextChoices):
    """uploading → unused → stored, for what users send; waiting → stored or failed, for what comes in; → gone."""

    UPLOADING = "uploading", "Uploading"
    UNUSED = "unused", "Unused"
    WAITING = "waiting", "Waiting"
    STORED = "stored", "Stored"
    FAILED = "failed", "Failed"
    GONE = "gone", "Gone"


def new_file_token() -> str:
    """128 random bits: who has the address of a file may read it, so nobody must be able to guess one."""
    return secrets.token_urlsafe(16)


class Attachment(Row):
    """One file. The row is written before its file and outlives it, so that no file is ever without a row.

    `message` is null while `uploading`, `unused` or `gone`. A file that came in is fetched from the carrier, from place
    `position` of its message's `media_urls`; each try writes a file of its own, so that a worker that wakes up late
    harms nobody's. `gone`: its files are to be removed, then the row. `number` and `user` are copies of the message's.
    """

    message = models.ForeignKey(
        "cpaas.Message", models.DO_NOTHING, null=True, related_name="files", db_index=False, db_constraint=False
    )
    number = models.ForeignKey(
        "cpaas.CpaasNumber", models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    user = models.ForeignKey(
        "portal.EndUser", models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    position = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=10, choices=AttachmentState.choices)
    name = models.CharField(max_length=255, blank=True, default="")
    content_type = models.CharField(max_length=100, blank=True, default="")
    size = models.PositiveBigIntegerField(default=0)
    sent_as = models.CharField(max_length=4, choices=[("mms", "MMS"), ("link", "Link")], blank=True, default="")
    token = models.CharField(max_length=22, default=new_file_token)
    thumbnail_token = models.CharField(max_length=22, null=True)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    error = models.CharField(max_length=300, blank=True, default="")

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "number__system_provider_id",
        "reseller": "number__reseller_id",
        "group": "number__group_id",
        "user": "user_id",
    }

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["token"], name="attachment_token"),
            models.UniqueConstraint(fields=["thumbnail_token"], name="attachment_thumbnail_token"),
        ]
        indexes = [
            models.Index(
                fields=["message", "position"],
                condition=models.Q(message__isnull=False),
                name="attachment_message",
            ),
            models.Index(fields=["next_try_at"], condition=models.Q(state="waiting"), name="attachment_due"),
            models.Index(
                fields=["user", "created_at"],
                condition=models.Q(state__in=["uploading", "unused"]),
                name="attachment_unused",
            ),
            models.Index(fields=["id"], condition=models.Q(state="gone"), name="attachment_gone"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> str:
        """Where its file is in the storage."""
        return self._path_of_try(self.tries)

    @property
    def thumbnail_path(self) -> str:
        return f"{self.path}.thumbnail"

    def all_paths(self) -> Iterator[str]:
        """Every file that can ever have been written for it."""
        for n in range(1, self.tries + 1):
            yield self._path_of_try(n)
            yield f"{self._path_of_try(n)}.thumbnail"

    @property
    def url_name(self) -> str:
        return name_in_url(self.name)

    @property
    def url(self) -> str:
        """Where the remote party, and whoever it tells, gets the file; dead with its message (contracts, section 3)."""
        return f"{settings.PUBLIC_URL}/files/{self.token}/{self.url_name}"

    @property
    def thumbnail_url(self) -> str | None:
        if self.thumbnail_token is None:
            return None
        return f"{settings.PUBLIC_URL}/files/{self.thumbnail_token}/{THUMBNAIL_NAME}"

    def _path_of_try(self, n: int) -> str:
        return f"{FOLDER}/{self.pk.hex[-2:]}/{self.pk.hex}.{n}"
