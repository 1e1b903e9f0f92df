"""The demo's platforms, media streams and numbers.

Written as rows and not by the services, because those ask the carrier and nobody promises that the sandbox runs now.
The hooks are set when it does (cpaas.services.hooks).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction

from cpaas.demo import cast
from cpaas.demo.cast import PROVIDERS, demo_id
from cpaas.demo.history import Historian
from cpaas.demo.sandbox_accounts import ACCOUNTS
from cpaas.demo.tenants import Tenants
from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream
from cpaas.services.assignments import begin_assignment
from cpaas.services.media_streams import create_media_stream
from cpaas.services.opt_in import record_opt_in
from cpaas.services.platforms import merge_credentials
from portal import clock
from portal.models import EndUser, Group, PortalAccount
from portal.services import audit

_ANSWERS = {"declined": "no", "postponed": "cancel"}


def load_messaging(tenants: Tenants, sandbox_port: int) -> None:
    """Platforms that lead to the sandbox, streams and numbers; a number that is new gets its history."""
    for provider in PROVIDERS:
        staff = tenants.accounts[provider.accounts[0].place]
        platform = _platform(provider, staff, sandbox_port)
        historian = Historian(provider.time_zone)
        for reseller in provider.resellers:
            for group in reseller.groups:
                for user in group.users:
                    for number in user.numbers:
                        _number(number, platform, staff, historian, user=tenants.users[user.place])
                for stream in group.streams:
                    row = _stream(stream, group, staff, tenants)
                    _number(stream.number, platform, staff, historian, media_stream=row)


def _platform(provider: cast.Provider, staff: PortalAccount, sandbox_port: int) -> CpaasPlatform:
    """The provider's platform, led to where the sandbox is this time."""
    carrier = provider.platform.carrier
    account = ACCOUNTS[carrier]
    urls = account.urls(sandbox_port)
    key = demo_id(provider.platform.place)
    with transaction.atomic():
        row: CpaasPlatform | None = CpaasPlatform.objects.filter(pk=key).first()
        if row is None:
            row = CpaasPlatform(
                id=key,
                system_provider_id=demo_id(provider.place),
                carrier=carrier,
                name=provider.platform.name,
                credentials=merge_credentials(carrier, {}, account.credentials),
                options=dict(provider.platform.options),
                user_can_block=provider.platform.user_can_block,
                mms=True,
            )
            row.options |= urls
            row.save(force_insert=True)
            audit.record(staff, "create", row, after={"name": row.name, "carrier": row.carrier})
        elif {**row.options, **urls} != row.options:
            row.options |= urls
            row.save(update_fields=["options"])
    return row


def _stream(stream: cast.Stream, group: cast.Group, staff: PortalAccount, tenants: Tenants) -> MediaStream:
    row = MediaStream.objects.filter(pk=demo_id(stream.place)).first()
    return row or create_media_stream(
        actor=staff,
        group=Group.objects.get(pk=demo_id(group.place)),
        id=demo_id(stream.place),
        name=stream.name,
        agents=[tenants.users[place] for place in stream.agents],
    )


def _number(
    number: cast.Number,
    platform: CpaasPlatform,
    staff: PortalAccount,
    historian: Historian,
    *,
    user: EndUser | None = None,
    media_stream: MediaStream | None = None,
) -> None:
    if CpaasNumber.objects.filter(number=number.number).exists():
        return
    owner: Any = user or media_stream
    asked = number.opt_in in _ANSWERS
    with transaction.atomic():
        row = CpaasNumber(
            number=number.number,
            platform=platform,
            user=user,
            media_stream=media_stream,
            group=owner.group,
            friendly_name=number.friendly_name,
            note=number.note,
            status=number.status,
            status_detail=number.status_detail,
            opt_in_state="pending" if asked else number.opt_in,
        )
        row.save(force_insert=True)
        begin_assignment(row, clock.now() - timedelta(days=number.days))
        audit.record(staff, "create", row, after={"number": row.number, "owner": str(owner)})
        if number.opt_in == "accepted":
            historian.accept(row)
        historian.write(row)
    if asked and user is not None:
        # By the service, so that its mails go out and its evidence is real; after the texts that came before it.
        record_opt_in(user=user, number=row, answer=_ANSWERS[number.opt_in])
