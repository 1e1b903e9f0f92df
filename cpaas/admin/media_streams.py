"""Media streams of a group, and the number they can be given while they are made (S4.3, S4.33)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render

from cpaas.admin.live_queue import live_context
from cpaas.admin.number_forms import assignment_fields, assignment_values, provisioning_notice
from cpaas.models import CpaasPlatform, MediaStream, QueueEntry
from cpaas.services import media_streams, numbers, queueing
from cpaas.services.platforms import platforms_for
from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffModelForm, changes_of
from portal.admin.navigation import Entry
from portal.admin.pages import Detail, Route
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.models import EndUser, Group, PortalAccount
from portal.problems import Problem
from portal.scoping import parse_id

_PREFIX = "number_"
_MOST_AGENTS = 20


class MediaStreamForm(StaffModelForm):
    """With Media Type = SMS the form asks for a number too, with the options it has for users (S4.33)."""

    account: PortalAccount

    class Meta:
        model = MediaStream
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.platforms = {str(platform.pk): platform for platform in self._platforms()}
        if self.platforms and not self._has_number():
            self._add_number_fields()
        self.fields[
            "agents"
        ].help_text = "Users of the same group. To be asked they need a client licence and a running client."
        self.dress()

    def _platforms(self) -> list[CpaasPlatform]:
        """Of the stream's tenant; of a new one by the account's, or the group it is added to."""
        if not self.instance._state.adding:
            return list(platforms_for(self.instance.system_provider_id))
        if self.account.system_provider_id:
            return list(platforms_for(self.account.system_provider_id))
        key = parse_id(self.data.get("group") if self.is_bound else self.initial.get("group"))
        group = visible(Group, self.account).filter(pk=key).first() if key else None
        return list(platforms_for(group.system_provider_id)) if group else []

    def _has_number(self) -> bool:
        return not self.instance._state.adding and self.instance.cpaas_numbers.exists()

    def _add_number_fields(self) -> None:
        names = []
        for name, field in assignment_fields(list(self.platforms.values())).items():
            field.required = False
            field.widget.attrs["data-needs"] = "media_type=sms"
            self.fields[f"{_PREFIX}{name}"] = field
            names.append(f"{_PREFIX}{name}")
        self.fields[
            f"{_PREFIX}number"
        ].help_text = f"Ten-digit US number, or empty for none. {provisioning_notice(list(self.platforms.values()))}"
        self.fieldsets = [*self.fieldsets, ("CPaaS number", names)]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        wants_number = cleaned.get(f"{_PREFIX}number") and cleaned.get("media_type") == "sms"
        if wants_number and not cleaned.get(f"{_PREFIX}platform"):
            self.add_error(f"{_PREFIX}platform", "Choose a platform.")
        return cleaned

    def wanted_number(self) -> dict[str, Any] | None:
        """The keyword arguments of `assign_number` but the owner, None when no number is asked for."""
        given = {
            name.removeprefix(_PREFIX): value for name, value in self.cleaned_data.items() if name.startswith(_PREFIX)
        }
        if not given.get("number") or self.cleaned_data["media_type"] != "sms":
            return None
        return assignment_values(given, self.platforms)


@admin.register(MediaStream, site=site)
class MediaStreamAdmin(TenantScopedAdmin):
    slug = "media-streams"
    nav = Entry("Messaging", "Media streams", "support_agent", 30, counted=True)
    add_levels = change_levels = delete_levels = TenantScopedAdmin.levels
    related = ("group",)
    list_display = ("name", "group", "media_type", "routing")
    list_filter = ("media_type",)
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    empty_text = (
        "There is no media stream here yet. With one, texts to the main number of a business go to the agents of its "
        "contact center."
    )
    details = ("group", "media_type", "routing")
    form = MediaStreamForm
    parent_field = "group"
    form_fields = ("name", "media_type", "routing", "offer_timeout_s", "agents")
    form_groups = (("Media stream", ("group", "name", "media_type", "routing", "offer_timeout_s", "agents")),)
    autocomplete_fields = ("group", "agents")

    def routes(self) -> list[Route]:
        return [
            ("queue/<str:entry_id>/release/", self.release_view, "release"),
            *super().routes(),
            ("<str:object_id>/queue/", self.queue_view, "queue"),
            ("<str:object_id>/queue/now/", self.queue_now_view, "queue_now"),
        ]

    def get_tabs(self, request: HttpRequest, row: Any, active: str = "profile") -> list[dict[str, Any]]:
        places = [
            ("profile", "Profile", "detail"),
            ("queue", "Live queue", "queue"),
            ("history", "Audit trail", "history"),
        ]
        return [
            {"title": title, "url": self.url(view, row.pk), "active": name == active} for name, title, view in places
        ]

    def queue_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Who waits, who handles what, what the agents do."""
        row = self.get_scoped(request, object_id)
        context = {
            **live_context(row, actor(request)),
            "title": f"Live queue of {row}",
            "crumbs": self.crumbs(row, "Live queue"),
            "tabs": self.get_tabs(request, row, "queue"),
            "rows_url": self.url("queue_now", row.pk),
        }
        return self.page(request, "cpaas/live_queue.html", row, context)

    def queue_now_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The same by itself, asked for by the page every two seconds."""
        row = self.get_scoped(request, object_id)
        return render(request, "cpaas/live_queue_rows.html", live_context(row, actor(request)))

    def release_view(self, request: HttpRequest, entry_id: str) -> HttpResponse:
        """Take a conversation from the agent who has it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        key = parse_id(entry_id)
        entry = visible(QueueEntry, actor(request)).filter(pk=key).first() if key else None
        if entry is None:
            raise Http404("There is no such page.")
        if not actor(request).may_write:
            raise forbid(request)
        try:
            queueing.return_to_queue(actor=actor(request), entry=entry)
        except Problem as problem:
            messages.error(request, problem.detail)
        else:
            messages.success(request, "The conversation waits in the queue again.")
        return HttpResponseRedirect(self.url("queue", entry.media_stream_id))

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        agents = visible(EndUser, actor(request)).filter(media_streams=row).order_by("id")[: _MOST_AGENTS + 1]
        names = [str(agent) for agent in agents]
        shown = ", ".join([*names[:_MOST_AGENTS], *(["…"] if len(names) > _MOST_AGENTS else [])])
        timeout = Detail("Offer timeout", f"{row.offer_timeout_s} seconds")
        return [*super().get_details(request, row), timeout, Detail("Agents", shown)]

    def perform_create(self, request: HttpRequest, form: Any) -> MediaStream:
        values = form.cleaned_data
        stream = media_streams.create_media_stream(
            actor=actor(request),
            group=values["group"],
            agents=values["agents"],
            **{name: values[name] for name in media_streams.STREAM_FIELDS},
        )
        self._assign(request, stream, form.wanted_number())
        return stream

    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> MediaStream:
        stream = media_streams.update_media_stream(
            actor=actor(request),
            media_stream=row,
            changes=changes_of(form, media_streams.STREAM_FIELDS),
            agents=form.cleaned_data["agents"] if "agents" in form.changed_data else None,
        )
        self._assign(request, stream, form.wanted_number())
        return stream

    def _assign(self, request: HttpRequest, stream: MediaStream, wanted: dict[str, Any] | None) -> None:
        """The stream is saved already, so that a carrier's no does not lose what was typed for it."""
        if wanted is None:
            return
        try:
            numbers.assign_number(actor=actor(request), media_stream=stream, **wanted)
        except Problem as problem:
            messages.error(request, f"The number {wanted['number']} was not added: {problem.detail}")

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        media_streams.delete_media_stream(actor=actor(request), media_stream=row)

    def loss(self, row: Any) -> list[str]:
        return [
            f"The media stream {row} is deleted. This cannot be undone.",
            "A media stream that still has a CPaaS number cannot be deleted: delete the number first.",
        ]
