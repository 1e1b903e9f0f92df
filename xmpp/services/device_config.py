"""The device configuration file of UC-One gets the credentials too (S0.22); what failed is tried again."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import F

from portal import clock
from portal.logs import get_logger
from xmpp.broadworks import BroadworksError, commands, run
from xmpp.broadworks.documents import Operation
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.accounts import tell_user
from xmpp.services.connections import server_of
from xmpp.states import PasswordState, Work

logger = get_logger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 60, 3600


def update_devices(account: ImpAccount, connection: BroadworksConnection | None, claim: uuid.UUID) -> None:
    """Write the tags and push the files, under a claim of the account. Raises nothing: the password is set already."""
    if account.work != Work.DEVICE:
        return
    server = server_of(connection)
    if server is None or connection is None or not any(connection.tag_names):
        _settle(account, claim)  # there is no file any more
        return
    values = zip(connection.tag_names, (account.imp_id, account.password), strict=True)
    tags = {name: value for name, value in values if name}
    try:
        run(server, _write_tags(account, connection.kinds_of_device, tags))
    except BroadworksError as error:
        logger.warning("device_config_not_updated", account=str(account.pk), code=error.code)
        try_later(account, claim, error.detail)
    else:
        _settle(account, claim)


def try_later(account: ImpAccount, claim: uuid.UUID, detail: str) -> None:
    """Let go of the account until another try, ever later."""
    wait = min(_FIRST_WAIT_S * 2 ** min(account.work_tries, 10), _LONGEST_WAIT_S)
    ImpAccount.objects.filter(pk=account.pk, claim=claim).update(
        claim=None,
        work_due_at=clock.now() + timedelta(seconds=wait),
        work_tries=F("work_tries") + 1,
        work_detail=detail[:300],
    )


def _write_tags(account: ImpAccount, kinds: list[str], tags: dict[str, str]) -> Operation[None]:
    for device in (yield from commands.list_devices(account.user.login, kinds)):
        yield from commands.set_device_tags(device, tags, secrets=(account.password,))
        # Also when the tags were right: an earlier try may have come no further.
        yield from commands.push_device_config(device)


def _settle(account: ImpAccount, claim: uuid.UUID) -> None:
    with transaction.atomic():
        held = ImpAccount.objects.filter(
            pk=account.pk, claim=claim, work=Work.DEVICE, password_state=account.password_state
        )
        if held.update(
            password_state=PasswordState.SET, work="", work_due_at=None, work_tries=0, work_detail="", claim=None
        ):
            tell_user(account, session=False)
