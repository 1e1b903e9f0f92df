"""Mail that waits or failed, for operators."""

from __future__ import annotations

from django.contrib import admin

from portal.admin.base import TenantScopedAdmin
from portal.admin.navigation import Entry
from portal.admin.site import site
from portal.models import OutgoingMail


@admin.register(OutgoingMail, site=site)
class MailAdmin(TenantScopedAdmin):
    """Alert mails hold a number and a name, never message text."""

    slug = "mail"
    levels = frozenset({"operator"})
    nav = Entry("Administration", "Mail", "outgoing_mail", 40, levels=levels)
    list_display = ("created_at", "to", "subject", "state", "tries", "last_error")
    list_filter = ("state",)
    empty_text = "No mail has been written yet."
    details = ("created_at", "to", "subject", "text", "state", "tries", "next_at", "last_error", "sent_at")
