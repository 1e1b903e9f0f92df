"""Dead letters on the staff site: what carriers sent and nobody got, to be replayed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from cpaas.models import WebhookEvent
from cpaas.models.webhook_events import DEAD
from cpaas.services import dead_letters, message_log
from portal.admin.base import TenantScopedAdmin
from portal.admin.navigation import Entry
from portal.admin.pages import Crumbs, Detail
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site

_LEVELS = frozenset({"operator", "system_provider"})
_KINDS = {"unassigned": "p-bad", "unreadable": "p-bad", "replayed": "p-good"}
_SHOWN_OF_BODY = 2000


class WaitingFilter(admin.SimpleListFilter):
    """Dead letters that nobody has replayed yet."""

    title = "state"
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Not replayed yet")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(state__in=DEAD) if self.value() == "yes" else queryset


@admin.register(WebhookEvent, site=site)
class DeadLetterAdmin(TenantScopedAdmin):
    slug = "dead-letters"
    levels = _LEVELS
    nav = Entry("Messaging", "Dead letters", "unsubscribe", 45, levels=_LEVELS)
    related = ("platform",)
    list_display = ("time", "platform", "kind", "shown_sender", "shown_recipient")
    list_filter = (WaitingFilter,)
    empty_text = (
        "There is none. A text to a number that is not set up here, or a call that cannot be read, is kept here for 14 "
        "days and can be replayed."
    )
    details = ("created_at", "platform", "sid", "content_type")
    labels = {"sid": "SID", "created_at": "Time"}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).filter(state__in=(*DEAD, "replayed")).defer("body", "text")

    def page(self, request: HttpRequest, template: str, row: Any, context: dict[str, Any]) -> TemplateResponse:
        named = {"heading": f"Call of {row.platform}", "kind": "Dead letter"} if row is not None else {}
        return super().page(request, template, row, {**named, **context})

    def crumbs(self, row: Any, here: str = "") -> Crumbs:
        return [(self.list_title, self.url("changelist")), *([("Call", None)] if row is not None else [])]

    @admin.display(description="Time")
    def time(self, row: WebhookEvent) -> datetime:
        return row.created_at

    def add_url(self, request: HttpRequest, parent: Any = None) -> str:
        return ""

    @property
    def list_title(self) -> str:
        return self.nav.title

    @admin.display(description="Kind")
    def kind(self, row: WebhookEvent) -> SafeString:
        return format_html('<span class="p-badge {}">{}</span>', _KINDS[row.state], row.get_state_display())

    @admin.display(description="From")
    def shown_sender(self, row: WebhookEvent) -> str:
        return row.sender or "—"

    @admin.display(description="To")
    def shown_recipient(self, row: WebhookEvent) -> str:
        return row.recipient or "—"

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        readable = message_log.may_read_texts(actor(request))
        found = [Detail("Kind", self.kind(row)), *super().get_details(request, row)]
        if row.recipient:
            found[1:1] = [Detail("From", row.sender), Detail("To", row.recipient)]
            found.append(Detail("Body", row.text if readable else "Not shown.", kind="long"))
        if row.state == "unreadable":
            body = bytes(row.body[:_SHOWN_OF_BODY]).decode("utf-8", "replace").replace("\x00", "�")
            found.append(Detail("The call as it came", body, kind="long"))
        return found

    def get_banners(self, request: HttpRequest, row: Any) -> list[str]:
        """What to do with it, and until when."""
        if row.state not in DEAD:
            return []
        end = localtime(row.created_at + timedelta(days=settings.WEBHOOK_EVENT_DAYS))
        todo = "The portal could not read this call. Tell whoever runs it, and replay the call when that is mended."
        if row.state == "unassigned":
            who = row.recipient or "this number"
            todo = f"Nobody had {who} here. Add it to a user or a media stream, then replay this text."
        return [f"{todo} It is kept until {date_format(end)}."]

    @row_action("Replay", name="replay", icon="replay", style="primary", available="may_replay")
    def replay(self, request: HttpRequest, row: WebhookEvent) -> str:
        dead_letters.replay(actor=actor(request), call=row)
        return "The call was taken in; its text is in the message log."

    def may_replay(self, row: WebhookEvent) -> bool:
        return row.state in DEAD
