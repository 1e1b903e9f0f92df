"""Directories, the contacts stored in them and in users' own address books, and what those are found by.

An *address book* is the user's own (personal and Outlook contacts) or a directory's. `book` on a row is the id of that
user or directory; with the source of the contact every search is one range of an index.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Lower

from portal.encryption import EncryptedJSONField
from portal.indexes import Folded, level_indexes
from portal.models.base import Row
from portal.scoping import TenantModel


class Source(models.TextChoices):
    """Where a contact comes from. The order is the precedence when several know a number (contracts, Directories)."""

    PERSONAL = "personal", "Personal"
    OUTLOOK = "outlook", "Outlook"
    CRM = "crm", "CRM"
    GROUP = "group", "Group"
    ENTERPRISE = "enterprise", "Enterprise"
    LDAP = "ldap", "LDAP"
    SQL = "sql", "SQL"


class ContactKind(models.TextChoices):
    PERSON = "person", "Person"
    CONTACT = "contact", "Contact"
    LEAD = "lead", "Lead"
    ACCOUNT = "account", "Account"


class NumberType(models.TextChoices):
    MOBILE = "mobile", "Mobile"
    WORK = "work", "Work"
    HOME = "home", "Home"
    EXTENSION = "extension", "Extension"
    OTHER = "other", "Other"


class DirectoryKind(models.TextChoices):
    """CRM and CSV are filled by an import; LDAP and SQL are asked when they are needed."""

    CRM = "crm", "CRM"
    CSV = "csv", "CSV phone list"
    LDAP = "ldap", "LDAP"
    SQL = "sql", "SQL database"


ASKED = (DirectoryKind.LDAP, DirectoryKind.SQL)


class Directory(Row):
    """A directory of a group, or of a whole system provider when `group` is null (S1.35).

    `settings` say where it is and how it is read, `secrets` hold its password. `failed_until`: it did not answer and is
    left alone until then.
    """

    system_provider = models.ForeignKey("portal.SystemProvider", models.PROTECT, blank=True, related_name="directories")
    reseller = models.ForeignKey("portal.Reseller", models.PROTECT, null=True, related_name="+", editable=False)
    group = models.ForeignKey("portal.Group", models.PROTECT, null=True, blank=True, related_name="directories")
    kind = models.CharField(max_length=10, choices=DirectoryKind.choices)
    name = models.CharField(max_length=120)
    settings = models.JSONField(default=dict, blank=True)
    secrets = EncryptedJSONField(default=dict, editable=False)
    state = models.CharField(
        max_length=10,
        default="new",
        choices=[("new", "Not tried yet"), ("connected", "Connected"), ("failed", "Failed"), ("loaded", "Loaded")],
        editable=False,
    )
    state_detail = models.CharField("detail", max_length=300, blank=True, default="", editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    failed_until = models.DateTimeField(null=True, editable=False)
    row_count = models.PositiveIntegerField("contacts", default=0, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        verbose_name = "directory"
        verbose_name_plural = "directories"
        indexes = [
            models.Index(fields=["system_provider", "id"], name="directory_sp_id"),
            models.Index(fields=["reseller", "id"], name="directory_reseller_id"),
            models.Index(fields=["group", "id"], name="directory_group_id"),
            *level_indexes("directory_name", Folded("name")),
            *level_indexes("directory_kind", "kind"),
            models.Index(
                fields=["system_provider"], condition=models.Q(group__isnull=True), name="directory_of_provider"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_asked(self) -> bool:
        """Whether it is a server that is asked, not a list that was imported."""
        return self.kind in ASKED

    @property
    def source(self) -> str:
        """What its contacts say they come from: a phone list is the group's or the enterprise's (BroadWorks' common
        phone lists)."""
        if self.kind == DirectoryKind.CSV:
            return Source.GROUP if self.group_id else Source.ENTERPRISE
        return str(self.kind)


class Contact(Row):
    """An entry of an address book: of `user` (personal, Outlook) or of `directory`. `key` is its name there."""

    user = models.ForeignKey("portal.EndUser", models.CASCADE, null=True, related_name="contacts", db_index=False)
    directory = models.ForeignKey(Directory, models.CASCADE, null=True, related_name="contacts", db_index=False)
    book = models.UUIDField(editable=False)
    source = models.CharField(max_length=10, choices=Source.choices)
    key = models.CharField(max_length=200, blank=True, default="")
    kind = models.CharField(max_length=10, choices=ContactKind.choices, default=ContactKind.CONTACT)
    name = models.CharField(max_length=200)
    company = models.CharField(max_length=200, blank=True, default="")
    sip_uri = models.CharField("SIP URI", max_length=255, blank=True, default="")
    jid = models.CharField("JID", max_length=255, blank=True, default="")
    url = models.CharField("URL", max_length=500, blank=True, default="")

    tenant_paths: ClassVar[dict[str, str]] = {"user": "user_id"}

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["book", "source", "key"], condition=~models.Q(key=""), name="contact_key_in_book"
            )
        ]
        indexes = [
            models.Index("book", "source", Folded("name"), "id", name="contact_book_name"),
            models.Index(fields=["user", "source", "id"], name="contact_user_source"),
            models.Index(fields=["directory"], name="contact_directory"),
            models.Index("user", Lower("jid"), condition=~models.Q(jid=""), name="contact_user_jid"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        owner = self.user_id or self.directory_id
        assert owner is not None, "a contact belongs to a user or a directory"
        self.book = owner
        super().save(*args, **kwargs)


class ContactNumber(TenantModel):
    """A number of a contact: E.164, or as it is when it is an extension or a short code."""

    contact = models.ForeignKey(Contact, models.CASCADE, related_name="numbers")
    book = models.UUIDField(editable=False)
    number = models.CharField(max_length=32)
    type = models.CharField(max_length=10, choices=NumberType.choices, default=NumberType.OTHER)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "contact__user_id"}

    class Meta:
        indexes = [models.Index(fields=["book", "number"], name="contact_number_in_book")]

    def __str__(self) -> str:
        return self.number


class ContactWord(TenantModel):
    """A word a contact is found by: of its name and company, and its numbers as digits, forwards and backwards."""

    contact = models.ForeignKey(Contact, models.CASCADE, related_name="words", db_index=False)
    book = models.UUIDField(editable=False)
    source = models.CharField(max_length=10, choices=Source.choices)
    word = models.CharField(max_length=40)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "contact__user_id"}

    class Meta:
        constraints = [models.UniqueConstraint(fields=["contact", "word"], name="contact_word")]
        indexes = [models.Index("book", "source", Folded("word"), "contact", name="contact_word_in_book")]

    def __str__(self) -> str:
        return self.word


class FoundName(TenantModel):
    """What a server said a number is called, kept so that no list waits for it. "" is a number it does not know.

    `due_at`: the user `wanted_by` saw the number and the server is to be asked; null when there is nothing to do.
    """

    directory = models.ForeignKey(Directory, models.CASCADE, related_name="found_names", db_index=False)
    number = models.CharField(max_length=32)
    name = models.CharField(max_length=200, blank=True, default="")
    type = models.CharField(max_length=10, choices=NumberType.choices, default=NumberType.OTHER)
    wanted_by = models.UUIDField(null=True)
    due_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["directory", "number"], name="found_name")]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="found_name_due"),
            models.Index(fields=["expires_at"], name="found_name_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.number} in {self.directory_id}"
