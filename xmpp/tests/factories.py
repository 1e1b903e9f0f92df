"""Rows of IM and XMPP for tests."""

from __future__ import annotations

from datetime import timedelta

import factory
from django.conf import settings
from factory.django import DjangoModelFactory

from portal import clock
from portal.models import Lease
from portal.tests.factories import EndUserFactory, SystemProviderFactory
from tests.prosody import Prosody
from xmpp.models import BroadworksConnection, ImpAccount, Subscription
from xmpp.models.accounts import slot_of
from xmpp.services.ownership import shard_lease
from xmpp.states import PasswordState


class BroadworksConnectionFactory(DjangoModelFactory):
    """A connection without BroadWorks itself; `of_server` is one whose XMPP server is running."""

    class Meta:
        model = BroadworksConnection

    system_provider = factory.SubFactory(SystemProviderFactory)
    imp_domain = "im.example"

    @classmethod
    def of_server(cls, server: Prosody, **fields: object) -> BroadworksConnection:
        address = {"imp_domain": server.domain, "xmpp_host": server.host, "xmpp_port": server.port}
        return cls(**address, xmpp_ca=server.authority.pem, **fields)


class ImpAccountFactory(DjangoModelFactory):
    """An account that is on and has a password; `at_server` is one that the server knows."""

    class Meta:
        model = ImpAccount

    user = factory.SubFactory(EndUserFactory)
    system_provider = factory.SelfAttribute("user.system_provider")
    assigned = True
    enabled = True
    imp_id = factory.Sequence(lambda n: f"user{n}@im.example")
    slot = factory.LazyAttribute(lambda account: slot_of(account.imp_id))
    password = "imp-password-of-a-test"
    password_state = PasswordState.SET

    @classmethod
    def at_server(cls, server: Prosody, **fields: object) -> ImpAccount:
        jid, password = server.new_account()
        return cls(imp_id=jid, password=password, **fields)


class SubscriptionFactory(DjangoModelFactory):
    """That a user watches a colleague, who has accepted."""

    class Meta:
        model = Subscription

    user = factory.SubFactory(EndUserFactory)
    peer = factory.SubFactory(EndUserFactory, group=factory.SelfAttribute("..user.group"))
    jid = factory.Sequence(lambda n: f"peer{n}@im.example")
    direction = "out"
    state = "accepted"


def lease_shards(*, ended_s: float = -3600) -> None:
    """A bridge has all accounts, or had them until so many seconds ago."""
    deadline = clock.now() - timedelta(seconds=ended_s)
    for shard in range(settings.XMPP_SHARDS):
        Lease.objects.update_or_create(name=shard_lease(shard), defaults={"holder": "bridge", "deadline": deadline})
