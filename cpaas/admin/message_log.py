"""The message log on the staff site: a list with its filters, and each text with its story (S1.55–S1.59)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cpaas.admin.log_form import LogForm
from cpaas.api.message_log import csv_answer
from cpaas.models import Attachment, Message, Ticket
from cpaas.services import message_log
from cpaas.services.advice import advise
from cpaas.services.log_export import export_log
from cpaas.services.message_log import UNASSIGNED, Entry, LogFilter
from cpaas.services.story import Story, facts_of, stories
from cpaas.states import MessageStatus
from portal.admin.base import TenantScopedAdmin
from portal.admin.changelist import NEWER, OLDER
from portal.admin.forms import show_problem
from portal.admin.navigation import Entry as NavEntry
from portal.admin.pages import Button, Detail, Route
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.problems import Problem
from portal.scoping import parse_id

_LONGEST_BODY = 60
_STATUS_KINDS = {
    "delivered": "p-good",
    "received": "p-good",
    "failed": "p-bad",
    "undelivered": "p-bad",
    "unassigned": "p-bad",
    "unknown": "p-wait",
    "held": "p-wait",
    "blocked": "p-wait",
    "suppressed": "p-wait",
}
_STATUSES = [*MessageStatus.choices, (UNASSIGNED, "Unassigned")]
_DIRECTIONS = [("in", "In"), ("out", "Out")]


@dataclass(frozen=True)
class Line:
    """An entry as the list shows it."""

    entry: Entry
    url: str
    sender: str
    recipient: str
    direction: str
    status: SafeString
    body: str | None


class Choices:
    """A filter whose choices are links, as the lists of Django's admin have them."""

    template = "admin/filter.html"

    def __init__(self, name: str, title: str, choices: Sequence[tuple[str, str]], chosen: str) -> None:
        self.name, self.title, self._choices, self._chosen = name, title, choices, chosen

    def choices(self, log: LogList) -> Iterator[dict[str, Any]]:
        for value, label in [("", "All"), *self._choices]:
            yield {
                "selected": value == self._chosen,
                "query_string": log.query_string({self.name: value}),
                "display": label,
            }


class LogList:
    """A page of the log as the template shows it, with what Django's admin expects of a list."""

    search_fields = ()

    def __init__(self, request: HttpRequest, form: LogForm, wanted: LogFilter | None, size: int) -> None:
        self.account = actor(request)
        self.parameters = {name: str(value) for name, value in request.GET.items() if value}
        self.form, self.size = form, size
        self.queryset = visible(Message, self.account)
        self.filter_specs = [
            Choices("status", "status", _STATUSES, self.parameters.get("status", "")),
            Choices("direction", "direction", _DIRECTIONS, self.parameters.get("direction", "")),
        ]
        self.older_url = self.newer_url = ""
        self.is_cut = False
        self.result_list: list[Entry] = []
        if wanted is not None:
            self._read(wanted)

    @property
    def has_active_filters(self) -> bool:
        return bool(self.parameters.keys() - {OLDER, NEWER})

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The choices that a search keeps."""
        return [(spec.name, self.parameters[spec.name]) for spec in self.filter_specs if spec.name in self.parameters]

    def query_string(self, changes: dict[str, str]) -> str:
        """The address of the same list with other parameters, from its first page on."""
        kept = {name: value for name, value in self.parameters.items() if name not in (OLDER, NEWER)}
        return "?" + urlencode({name: value for name, value in {**kept, **changes}.items() if value})

    def lines(self) -> list[Line]:
        readable = message_log.may_read_texts(self.account)
        return [line_of(entry, readable=readable) for entry in self.result_list]

    def _read(self, wanted: LogFilter) -> None:
        older, newer = (parse_id(self.parameters.get(name)) for name in (OLDER, NEWER))
        found = message_log.find_entries(
            actor=self.account, wanted=wanted, beyond=newer or older, backward=newer is not None, count=self.size + 1
        )
        self.is_cut = found.is_cut
        more, rows = len(found.entries) > self.size, found.entries[: self.size]
        if newer is not None:
            rows.reverse()
        if rows and (more if newer else older is not None):
            self.newer_url = self.query_string({NEWER: str(rows[0].pk)})
        if rows and (more or newer is not None):
            self.older_url = self.query_string({OLDER: str(rows[-1].pk)})
        self.result_list = rows


def line_of(entry: Entry, *, readable: bool) -> Line:
    if not isinstance(entry, Message):
        url = reverse("admin:cpaas_webhookevent_detail", args=[entry.pk])
        body = entry.text if readable else None
        return Line(entry, url, entry.sender, entry.recipient, "in", status_badge(UNASSIGNED), _short(body))
    own, url = entry.number.number, reverse("admin:cpaas_message_detail", args=[entry.pk])
    parties = (entry.remote, own) if entry.direction == "in" else (own, entry.remote)
    return Line(entry, url, *parties, entry.direction, status_badge(entry.status), _short(text_of(entry, readable)))


def text_of(message: Message, readable: bool) -> str | None:
    """What staff see of the text; nothing of what came after the user declined (R8)."""
    return message.text if readable and message.status != MessageStatus.SUPPRESSED else None


def status_badge(status: str) -> SafeString:
    return format_html('<span class="p-badge {}">{}</span>', _STATUS_KINDS.get(status, ""), dict(_STATUSES)[status])


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST_BODY:
        return text
    return f"{text[:_LONGEST_BODY]}…"


def _error(message: Message) -> str:
    """The carrier's code, when its sentence does not say it already."""
    code, sentence = message.error_code, message.error_text
    return sentence if code in sentence else f"{sentence} ({code})".strip()


_FILE_STATES = {
    ("stored", "mms"): "as MMS",
    ("stored", "link"): "behind a link",
    ("waiting", "mms"): "is still at the carrier",
    ("failed", "mms"): "never came",
}


def _name_of(file: Attachment, readable: bool) -> str:
    """A file that has not come has no name yet."""
    return (readable and file.name) or "A file"


@admin.register(Message, site=site)
class MessageLogAdmin(TenantScopedAdmin):
    slug = "message-log"
    nav = NavEntry("Messaging", "Message log", "manage_search", 25)
    related = ("number__platform", "user", "conversation")
    empty_text = (
        "No text fits. A text that the carrier says it handed over and that is missing here never reached us: that is "
        "a ticket with the carrier."
    )
    details = ("sid",)

    def add_url(self, request: HttpRequest, parent: Any = None) -> str:
        return ""

    def routes(self) -> list[Route]:
        return [("export/", self.export_view, "export"), *super().routes()]

    # --- The list ------------------------------------------------------------------------------------------------
    def export_view(self, request: HttpRequest) -> HttpResponse:
        """The log as CSV, by the same filters; the list says what is wrong with them."""
        wanted = self._wanted(request, LogForm(request.GET, account=actor(request), has_scope=True), ())
        if wanted is None:
            return self.list_view(request)
        return cast(HttpResponse, csv_answer(export_log(actor=actor(request), wanted=wanted)))

    def list_view(
        self, request: HttpRequest, *, narrow: dict[str, Any] | None = None, context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The log; in the tab of a level that of this level and below."""
        scope = tuple((path.removesuffix("_id"), key) for path, key in (narrow or {}).items())
        form = LogForm(request.GET, account=actor(request), has_scope=not scope)
        wanted = self._wanted(request, form, scope)
        shown = LogList(request, form, wanted, self.list_per_page)
        own = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "heading": self.list_title,
            "title": self.list_title,
            "crumbs": [(self.list_title, None)],
            "cl": shown,
            "lines": shown.lines(),
            "form": form,
            "empty_text": self.empty_text,
            # Whoever gave no start is told how far back was looked.
            "searched_since": wanted.after if wanted and wanted.text and not form.cleaned_data["after"] else None,
            "longest": message_log.LONGEST_SPAN.days,
            "most": message_log.MOST_PARTIES,
            "export_url": "" if scope else f"{self.url('export')}{shown.query_string({})}",
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "cpaas/message_log.html", {**own, **(context or {})})

    def _wanted(
        self, request: HttpRequest, form: LogForm, scope: tuple[tuple[str, uuid.UUID], ...]
    ) -> LogFilter | None:
        """What is looked for, None when it is not sound; the form then says why."""
        if not form.is_valid():
            return None
        try:
            return message_log.check_filter(actor(request), form.wanted(scope))
        except Problem as problem:
            show_problem(form, problem)
            return None

    # --- A text --------------------------------------------------------------------------------------------------
    def detail_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Opening it leaves a trace in the audit trail (S1.57)."""
        row = self.get_scoped(request, object_id)
        message_log.open_entry(actor=actor(request), key=row.pk)
        story = stories([row], in_full=True)[0]
        tickets = visible(Ticket, actor(request)).filter(message_id=row.pk).order_by("-id")[:20]
        context = {
            "details": [*self._details(request, row, story.sid), *self._files(request, story)],
            "story": story,
            "readable": message_log.may_read_texts(actor(request)),
            "advice": advise(facts_of(row)),
            "tickets": tickets,
            "buttons": self.get_buttons(request, row),
            "heading": "Text received" if row.direction == "in" else "Text sent",
            "kind": "Message log",
        }
        return self.page(request, "cpaas/message.html", row, context)

    def crumbs(self, row: Any, here: str = "") -> list[tuple[str, str | None]]:
        if row is None or here:
            return super().crumbs(row, here)
        return [(self.list_title, self.url("changelist")), ("Text", None)]

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        if not actor(request).may_write:
            return []
        return [
            Button(
                "Raise ticket", reverse("admin:cpaas_ticket_add_to_message", args=[row.pk]), icon="confirmation_number"
            )
        ]

    def _files(self, request: HttpRequest, story: Story) -> list[Detail]:
        """The files by their names, never their addresses, and what became of them."""
        readable = text_of(story.message, message_log.may_read_texts(actor(request))) is not None
        return [
            Detail("File", f"{_name_of(file, readable)} {_FILE_STATES[file.state, file.sent_as]}")
            for file in story.files
        ]

    def _details(self, request: HttpRequest, row: Message, sid: str) -> list[Detail]:
        line = line_of(row, readable=False)
        text = text_of(row, message_log.may_read_texts(actor(request)))
        segments = f"{row.segments} segment{'' if row.segments == 1 else 's'}"
        characters = f"{row.characters} char{'' if row.characters == 1 else 's'}"
        shown = [
            Detail("From", line.sender),
            Detail("To", line.recipient),
            Detail("Direction", "inbound" if row.direction == "in" else "outbound-api"),
            Detail("Status", line.status),
            Detail("Number", row.number, self.link_to(request, row.number)),
            Detail("User", row.user, self.link_to(request, row.user)) if row.user else Detail("User", "—"),
            Detail(f"Body — {characters} ({segments})", text if text is not None else "Not shown.", kind="long"),
        ]
        if row.error_code or row.error_text:
            shown.insert(4, Detail("Error", _error(row)))
        return shown
