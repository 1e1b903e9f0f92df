"""Notes: what colleagues write on a user for one another (S3.6, S3.7)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.scoping import TenantModel
from presence.models.own import OF_USER


class Note(TenantModel):
    """The note on `user`. An empty `text` is none: the row stays, so that open streams hear that it is gone.

    `author_name` outlives the author. `at` has an index for the streams, which ask for what changed just now.
    """

    user = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="+")
    text = models.CharField(max_length=500, blank=True, default="")
    author = models.ForeignKey("portal.EndUser", models.SET_NULL, null=True, related_name="+")
    author_name = models.CharField(max_length=120, blank=True, default="")
    at = models.DateTimeField(db_index=True)

    tenant_paths: ClassVar[dict[str, str]] = OF_USER

    def __str__(self) -> str:
        return f"note on {self.user_id}"
