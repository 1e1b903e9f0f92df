"""The remote party of a conversation has the best name that any directory knows (S1.34, S1.35)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas.models import Conversation, CpaasNumber
from cpaas.tests.factories import ConversationFactory, CpaasNumberFactory, MessageFactory
from portal.directory.models import FoundName
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.services import users
from portal.tests.factories import GroupFactory
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.core
BASE = "/api/v1/"
REMOTE = "+12025550123"


@pytest.fixture
def number(tenant: Tenant) -> CpaasNumber:
    return CpaasNumberFactory(user=tenant.user)


@pytest.fixture
def conversation(number: CpaasNumber) -> Conversation:
    return MessageFactory(conversation=ConversationFactory(number=number, remote=REMOTE)).conversation


def remote(api: Any, tenant: Tenant, conversation: Conversation) -> tuple[Any, Any]:
    shown = api(tenant.device_token).get(f"{BASE}conversations/{conversation.pk}/").json()["remote"]
    return shown["name"], shown["source"]


def test_s1_34_the_name_of_the_best_directory(api: Any, tenant: Tenant, conversation: Conversation) -> None:
    assert remote(api, tenant, conversation) == (None, None)
    far = DirectoryFactory(group=None, system_provider=tenant.system_provider, kind="csv")
    make_contact(far, "Enterprise", REMOTE)
    assert remote(api, tenant, conversation) == ("Enterprise", "enterprise")
    users.update_user(actor=None, user=tenant.colleague, changes={"mobile": REMOTE})
    assert remote(api, tenant, conversation) == (tenant.colleague.name, "group")
    make_contact(DirectoryFactory(group=tenant.group), "Mr. James Merced (Sample)", REMOTE, kind="lead")
    assert remote(api, tenant, conversation) == ("Mr. James Merced (Sample)", "crm")
    make_contact(tenant.user, "Outlook", REMOTE, source="outlook")
    assert remote(api, tenant, conversation) == ("Outlook", "outlook")
    make_contact(tenant.user, "Personal", REMOTE)
    assert remote(api, tenant, conversation) == ("Personal", "personal")


def test_what_others_know_stays_theirs(api: Any, tenant: Tenant, conversation: Conversation) -> None:
    make_contact(tenant.colleague, "Secret", REMOTE)
    make_contact(DirectoryFactory(group=tenant.other_group), "Beside", REMOTE)
    make_contact(DirectoryFactory(), "Abroad", REMOTE)
    users.update_user(actor=None, user=tenant.other_user, changes={"mobile": REMOTE})
    assert remote(api, tenant, conversation) == (None, None)


def test_r42_a_colleague_by_the_cpaas_number_also_of_the_enterprise(api: Any, tenant: Tenant) -> None:
    mine = CpaasNumberFactory(user=tenant.user)
    near = CpaasNumberFactory(user__group=GroupFactory(reseller=tenant.reseller, enterprise="Holding"))
    conversation = MessageFactory(conversation=ConversationFactory(number=mine, remote=near.number)).conversation
    assert remote(api, tenant, conversation) == (None, None)
    tenant.group.enterprise = "Holding"
    tenant.group.save()
    assert remote(api, tenant, conversation) == (near.user.name, "enterprise")
    own = CpaasNumberFactory(user=tenant.colleague)
    conversation = MessageFactory(conversation=ConversationFactory(number=mine, remote=own.number)).conversation
    assert remote(api, tenant, conversation) == (tenant.colleague.name, "group")


def test_a_directory_knows_mobiles_that_the_plan_does_not_tell(
    api: Any, tenant: Tenant, conversation: Conversation
) -> None:
    client = api(tenant.device_token)
    kind = lambda: client.get(f"{BASE}conversations/{conversation.pk}/").json()["remote"]["kind"]  # noqa: E731
    assert kind() == "unknown"
    make_contact(tenant.user, "Mona", f"{REMOTE} mobile")
    assert kind() == "mobile"


@pytest.mark.parametrize("query", ["merc", "555012", "0123"])
def test_conversations_are_found_by_the_names_of_every_directory(
    api: Any, tenant: Tenant, conversation: Conversation, number: CpaasNumber, query: str
) -> None:
    make_contact(DirectoryFactory(group=tenant.group), "Mr. James Merced", REMOTE)
    MessageFactory(conversation=ConversationFactory(number=number, remote="+17035559876"))
    found = api(tenant.device_token).get(f"{BASE}conversations/", {"q": query}).json()["results"]
    assert [row["id"] for row in found] == [str(conversation.pk)]


class TestServers:
    """LDAP and SQL are never asked by whoever shows a list (S1.35)."""

    @pytest.fixture
    def ldap(self, tenant: Tenant) -> Any:
        return DirectoryFactory(group=tenant.group, kind="ldap")

    def test_an_unknown_number_is_noted_once(
        self, api: Any, tenant: Tenant, conversation: Conversation, ldap: Any
    ) -> None:
        for _ in range(2):
            assert remote(api, tenant, conversation) == (None, None)
        [noted] = FoundName.objects.all()
        assert (noted.directory, noted.number, noted.wanted_by) == (ldap, REMOTE, tenant.user.pk)
        assert noted.due_at is not None

    def test_what_it_said_holds_for_a_while(
        self, api: Any, tenant: Tenant, conversation: Conversation, ldap: Any, time_machine: Any
    ) -> None:
        time_machine.move_to("2026-11-26T10:00:00Z", tick=False)
        FoundName.objects.create(directory=ldap, number=REMOTE, name="Said", expires_at="2027-01-01T00:00:00Z")
        assert remote(api, tenant, conversation) == ("Said", "ldap")
        FoundName.objects.update(expires_at="2026-01-01T00:00:00Z")
        assert remote(api, tenant, conversation) == (None, None)
        assert FoundName.objects.get().due_at is not None

    def test_a_number_it_does_not_know_is_not_asked_for_again(
        self, api: Any, tenant: Tenant, conversation: Conversation, ldap: Any
    ) -> None:
        FoundName.objects.create(directory=ldap, number=REMOTE, name="", expires_at="2100-01-01T00:00:00Z")
        assert remote(api, tenant, conversation) == (None, None)
        assert FoundName.objects.get().due_at is None

    def test_nothing_is_noted_for_those_without_a_server(
        self, api: Any, tenant: Tenant, conversation: Conversation
    ) -> None:
        DirectoryFactory(kind="sql")
        remote(api, tenant, conversation)
        assert not FoundName.objects.exists()
