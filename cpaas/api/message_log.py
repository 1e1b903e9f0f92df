"""Provisioning `message-log/`: every text of the scope with its story (S1.55–S1.57, R40)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.api import shapes
from cpaas.models import Message, WebhookEvent
from cpaas.services import message_log
from cpaas.services.advice import advise
from cpaas.services.log_export import export_log
from cpaas.services.message_log import UNASSIGNED, LogFilter
from cpaas.services.story import Step, Story, facts_of, stories
from cpaas.states import MessageStatus
from portal.api.base import StaffView
from portal.api.fields import Choice, Id, Text, Time
from portal.api.paging import list_name, paginate_found
from portal.api.strict import ListQuery, StrictSerializer
from portal.clock import iso
from portal.scoping import parse_id

SCOPES = ("system_provider", "reseller", "group", "user")


class LogQuery(ListQuery):
    after = Time(required=False, help_text="At this time or later.")
    before = Time(required=False, help_text="Before this time.")
    text = Text(required=False, max_length=200, help_text="Part of the text, in a span of 7 days or that given, ≤ 90.")
    status = serializers.ChoiceField(choices=[*MessageStatus.values, UNASSIGNED], required=False)
    direction = serializers.ChoiceField(choices=["in", "out"], required=False)
    number = Id(required=False, help_text="Id of a CPaaS number.")
    system_provider = Id(required=False)
    reseller = Id(required=False)
    group = Id(required=False)
    user = Id(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        said = "A number, or its last digits (at least four)."
        parties = {name: Text(required=False, max_length=40, help_text=said) for name in ("from", "to")}
        return {**parties, **super().get_fields()}


def filter_of(query: dict[str, Any]) -> LogFilter:
    """The filter that checked query parameters ask for."""
    return LogFilter(
        sender=query.get("from", ""),
        recipient=query.get("to", ""),
        after=query.get("after"),
        before=query.get("before"),
        text=query.get("text", ""),
        status=query.get("status", ""),
        direction=query.get("direction", ""),
        number_id=query.get("number"),
        scope=tuple((level, query[level]) for level in SCOPES if level in query),
    )


class MessageLog(StaffView):
    """The texts of the scope, newest first; those that came to no number of ours are among them as `unassigned`.

    With `Accept: text/csv` the first 10,000 as CSV.
    """

    serializer_class = shapes.LogEntryShape  # type: ignore[assignment]
    query_classes: ClassVar[dict[str, Any]] = {"GET": LogQuery}
    order = ("-id",)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"GET": (409,)}

    def get(self, request: Request) -> HttpResponseBase:
        wanted = message_log.check_filter(self.actor, filter_of(self.query))
        if "text/csv" in request.headers.get("Accept", ""):
            return csv_answer(export_log(actor=self.actor, wanted=wanted))

        def find(beyond: uuid.UUID | None, backward: bool, count: int) -> list[Any]:
            found = message_log.find_entries(
                actor=self.actor, wanted=wanted, beyond=beyond, backward=backward, count=count
            )
            return found.entries

        name = list_name(request.path, self.query, request.user.pk)
        page = paginate_found(
            find, Message, name=name, cursor=self.query.get("cursor"), limit=self.query.get("limit", 50)
        )
        readable = message_log.may_read_texts(self.actor)
        message_log.note_reading(actor=self.actor, wanted=wanted, entries=page.rows)
        return Response(page.answer(entry_objects(page.rows, readable=readable)))


class MessageLogItem(StaffView):
    """One text with its story. Opening it leaves a trace in the audit trail (S1.57)."""

    answers: ClassVar[dict[str, Any]] = {"GET": {200: shapes.LogEntryShape}}

    def get(self, request: Request, pk: str) -> Response:
        entry = message_log.open_entry(actor=self.actor, key=parse_id(pk))
        readable = message_log.may_read_texts(self.actor)
        return Response(entry_objects([entry], readable=readable, in_full=True)[0])


def csv_answer(lines: Iterator[str]) -> StreamingHttpResponse:
    """The log as a file to be saved."""
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="message-log.csv"'
    return answer


class AdviceSerializer(StrictSerializer):
    ticket = Choice(choices=["carrier", "portal", "none"])
    sentence = Text()


class MessageAdvice(StaffView):
    """Whose ticket it is when somebody misses this text (S1.59)."""

    serializer_class = AdviceSerializer

    def get(self, request: Request, pk: str) -> Response:
        entry = message_log.find_entry(actor=self.actor, key=parse_id(pk))
        advice = advise(facts_of(entry))
        return Response({"ticket": advice.ticket, "sentence": advice.sentence})


def entry_objects(
    entries: Sequence[message_log.Entry], *, readable: bool, in_full: bool = False
) -> list[dict[str, Any]]:
    """The rows of the log, in their order; texts only when `readable`, never those of a user who has declined (R8)."""
    messages = [row for row in entries if isinstance(row, Message)]
    told = {story.message.pk: story for story in stories(messages, in_full=in_full)}
    return [
        message_object(told[row.pk], readable=readable)
        if isinstance(row, Message)
        else unassigned_object(row, readable)
        for row in entries
    ]


def message_object(story: Story, *, readable: bool) -> dict[str, Any]:
    row, own = story.message, story.message.number
    outbound = row.direction == "out"
    taken = sum(bool(attempt.sid) for attempt in story.attempts) if outbound else 1
    return {
        "id": str(row.pk),
        "at": iso(row.created_at),
        "from": own.number if outbound else row.remote,
        "to": row.remote if outbound else own.number,
        "direction": row.direction,
        "api_direction": "outbound-api" if outbound else "inbound",
        "kind": row.kind,
        "status": row.status,
        "sid": story.sid or None,
        "sid_history": story.sid_history,
        "text": row.text if readable and row.status != MessageStatus.SUPPRESSED else None,
        "attachments": file_objects(story, readable and row.status != MessageStatus.SUPPRESSED),
        "encoding": row.encoding,
        "segments": row.segments,
        "characters": row.characters,
        "price_segments": taken * (row.segments if row.kind == "sms" else 1),
        "number": str(row.number_id),
        "user": _id(row.user_id),
        "group": _id(row.group_id),
        "reseller": _id(row.reseller_id),
        "system_provider": _id(row.system_provider_id),
        "error": _error(row.error_code, row.error_text),
        "attempts": [
            {
                "n": attempt.n,
                "sid": attempt.sid or None,
                "status": attempt.status,
                "at": iso(attempt.changed_at or attempt.created_at),
                "error": _error(attempt.error_code, attempt.error_text),
            }
            for attempt in story.attempts
        ],
        "events": step_objects(story.steps, readable=readable),
    }


def file_objects(story: Story, readable: bool) -> list[dict[str, Any]]:
    """The files by their names, never their addresses; without a name when the text may not be read either."""
    return [
        {
            "name": file.name if readable else None,
            "content_type": file.content_type,
            "size": file.size,
            "as": file.sent_as,
            "state": file.state,
            "error": file.error,
        }
        for file in story.files
    ]


def unassigned_object(call: WebhookEvent, readable: bool) -> dict[str, Any]:
    """A text that came to no number of ours, as a row of the log."""
    return {
        "id": str(call.pk),
        "at": iso(call.created_at),
        "from": call.sender,
        "to": call.recipient,
        "direction": "in",
        "api_direction": "inbound",
        "kind": "sms",
        "status": UNASSIGNED,
        "sid": call.sid or None,
        "sid_history": [call.sid] if call.sid else [],
        "text": call.text if readable else None,
        "attachments": [],
        **message_log.counted(call.text),
        "number": None,
        "user": None,
        "group": None,
        "reseller": None,
        "system_provider": str(call.platform.system_provider_id),
        "error": None,
        "attempts": [],
        "events": step_objects([Step(call.created_at, "webhook", "The carrier called; the number is none of ours")]),
    }


def step_objects(steps: Iterable[Step], *, readable: bool = True) -> list[dict[str, Any]]:
    """A carrier's answer may quote the text, so only who may read texts sees its words."""
    return [
        {
            "at": iso(step.at),
            "type": step.type,
            "title": step.title,
            "detail": step.detail if readable or not step.is_quoted else "",
            "attempt": step.attempt,
            "word": step.word or None,
        }
        for step in steps
    ]


def _id(key: uuid.UUID | None) -> str | None:
    return str(key) if key else None


def _error(code: str, text: str) -> dict[str, str] | None:
    return {"code": code, "text": text} if code or text else None
