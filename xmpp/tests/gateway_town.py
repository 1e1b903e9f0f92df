"""A system provider with an SMS gateway: a real XMPP server, a simulated carrier, and users with UC-One."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cpaas import transport
from cpaas.carriers.registry import get_carrier
from cpaas.dispatch import Dispatcher
from cpaas.models import CpaasNumber, CpaasPlatform, Message
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal.models import EndUser
from portal.residents.database import close_database_threads
from portal.tests.factories import EndUserFactory
from portal.tests.residents import eventually, hosting
from tests.sandbox_process import NUMBERS, SandboxProcess
from tests.xmpp_peer import Server, UcOne
from xmpp.gateway import SmsGatewayResident
from xmpp.models import ImpAccount, SmsGateway

REMOTE = "+17036089795"


class Town:
    """`user` has `number` and an account, with which `peer` is connected once `open` was called."""

    def __init__(self, prosody: Server, sandbox: SandboxProcess, **account: Any) -> None:
        self.prosody, self.sandbox = prosody, sandbox
        self.platform: CpaasPlatform = CpaasPlatformFactory(credentials=sandbox.credentials, options=sandbox.options)
        self.provider = self.platform.system_provider
        self.user: EndUser = EndUserFactory(group__reseller__system_provider=self.provider)
        self.number: CpaasNumber = CpaasNumberFactory(number=NUMBERS[0], user=self.user, platform=self.platform)
        self.jid, self._password = self.add_account(self.user, **account)
        self.gateway = SmsGateway.objects.create(
            system_provider=self.provider,
            domain=prosody.component_domain,
            host=prosody.host,
            port=prosody.component_port,
            secret=prosody.component_secret,
        )
        self.peer = UcOne(prosody, self.jid, self._password)

    def add_account(self, user: EndUser, **fields: Any) -> tuple[str, str]:
        """JID and password of a new account of `user`, which is on unless `fields` say otherwise."""
        jid, password = self.prosody.new_account()
        values = {"assigned": True, "enabled": True, **fields}
        ImpAccount.objects.create(user=user, system_provider=user.system_provider, imp_id=jid, **values)
        return jid, password

    @contextmanager
    def open(self, *residents: Any) -> Iterator[UcOne]:
        """The gateway runs and the peer is connected."""
        with hosting(SmsGatewayResident, *residents):
            self.wait_status("online")
            self.peer.connect()
            yield self.peer
            self.peer.disconnect()
        close_database_threads()

    @contextmanager
    def open_with_dispatcher(self) -> Iterator[UcOne]:
        with self.open(Dispatcher) as peer:
            yield peer

    def wait_heard(self, peer: UcOne) -> None:
        """The gateway has heard all that `peer` said before: it answers in order."""
        peer.ask_features(self.address())

    def wait_status(self, status: str) -> SmsGateway:
        def found() -> SmsGateway | None:
            row = SmsGateway.objects.get(pk=self.provider.pk)
            return row if row.status == status else None

        return eventually(found, f"gateway {status}")

    def address(self, remote: str = REMOTE) -> str:
        return f"{remote}@{self.prosody.component_domain}"

    def hook(self, url: str) -> None:
        """Let the carrier's calls come to a live server of ours."""
        for number in CpaasNumber.objects.filter(platform=self.platform):
            transport.run(get_carrier("inteliquent").set_hook(self.platform.account(), number.number))

    def receive(self, text: str, remote: str = REMOTE, to: str | None = None, **more: Any) -> None:
        """The carrier passes a text on to us."""
        answer = self.sandbox.inbound(**{"from": remote, "to": to or self.number.number, "text": text, **more})
        assert [each["http_status"] for each in answer["deliveries"]] == [200], answer

    def sent(self) -> list[str]:
        """The texts that became messages, oldest first."""
        return list(Message.objects.filter(direction="out").order_by("id").values_list("text", flat=True))
