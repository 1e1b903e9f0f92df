"""The OpenAPI document and the running server agree: every operation is tried with generated requests."""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from cpaas.models import NumberImport, NumberImportLine
from cpaas.tests.factories import (
    AttemptFactory,
    BlockedPartyFactory,
    ConversationFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    DeadLetterFactory,
    MediaStreamFactory,
    MessageFactory,
    OptInEvidenceFactory,
    StopEvidenceFactory,
    StopFactory,
    TicketFactory,
)
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.models import PortalAccount, Service
from portal.tests.factories import staff_token
from portal.tests.tenants import Tenant
from portal.wsgi import application
from xmpp.models import SmsGateway
from xmpp.services.sending import send_message
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory, SubscriptionFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fuzz]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]

AWAY = {"carrier_unreachable", "broadworks_unreachable", "broadworks_refused"}

document = SchemaGenerator().get_schema(request=None, public=True)
schema = schemathesis.openapi.from_dict(document).exclude(path="/api/v1/events/")
schema.app = application
OPERATIONS = [found.ok() for found in schema.get_all_operations()]
# The examples that were asked for in total, ten at least of each operation.
EXAMPLES = max(10, math.ceil(settings().max_examples / len(OPERATIONS)))


@pytest.fixture
def rows(tenant: Tenant, request: pytest.FixtureRequest) -> dict[str, str]:
    """Collection → id of a row to try, in a tenant whose carrier does not answer."""
    request.getfixturevalue("settings").PORTAL_ALLOW_PRIVATE_URLS = True
    away = {"services_url": "http://127.0.0.1:9/services", "broker_url": "http://127.0.0.1:9/broker"}
    platform = CpaasPlatformFactory(system_provider=tenant.system_provider, options=away)
    number = CpaasNumberFactory(user=tenant.user, platform=platform)
    conversation = ConversationFactory(number=number)
    MessageFactory(conversation=conversation, direction="in")
    message = MessageFactory(conversation=conversation, status="failed")
    AttemptFactory(message=message)
    OptInEvidenceFactory(number=number)
    for make in (StopFactory, StopEvidenceFactory):
        make(number=number, remote=conversation.remote)
    stream = MediaStreamFactory(group=tenant.group)
    job = NumberImport.objects.create(account_id=tenant.administrator.pk, total=1)
    NumberImportLine.objects.create(job=job, line=2)
    found = {
        "platforms": platform,
        "numbers": number,
        "imports": job,
        "conversations": conversation,
        "messages": message,
        "media-streams": stream,
        "message-log": message,
        "tickets": TicketFactory(number=number),
        "dead-letters": DeadLetterFactory(platform=platform),
        "blocked": BlockedPartyFactory(number=number),
        "system-providers": tenant.system_provider,
        "resellers": tenant.reseller,
        "groups": tenant.group,
        "users": tenant.colleague,
        "portal-accounts": tenant.accounts["group", "read_only"],
        "tokens": tenant.administrator.tokens.get(),
        "devices": tenant.user.devices.get(),
        "directories": DirectoryFactory(group=tenant.group),
        "contacts": make_contact(tenant.user, "Ada", "+12025550123"),
        "presence": tenant.colleague,
        "services": Service.objects.create(name="xmpp-bridge"),
        **rows_of_im(tenant),
    }
    return {collection: str(row.pk) for collection, row in found.items()}


def rows_of_im(tenant: Tenant) -> dict[str, Any]:
    """What the routes of IM and XMPP are tried with."""
    connection = BroadworksConnectionFactory(system_provider=tenant.system_provider)
    ImpAccountFactory(user=tenant.user)
    message = send_message(user=tenant.user, to=str(tenant.colleague.pk), text="Hello")
    return {
        "broadworks": connection,
        "sms-gateways": SmsGateway.objects.create(
            system_provider=tenant.system_provider, domain="sms.im.example", host="127.0.0.1", port=1, secret="a-secret"
        ),
        "im/conversations": message.conversation,
        "subscriptions": SubscriptionFactory(user=tenant.user, direction="in", state="pending"),
    }


def test_the_document_is_what_the_server_hands_out(client: Client) -> None:
    assert client.get("/api/v1/schema/?format=json").json() == json.loads(json.dumps(document))


def breaks_login(case: Any) -> bool:
    """Whether a missing or malformed `Authorization` is what the case is about, so that it gets no token of ours.

    schemathesis minds this itself only when nothing else is broken. With another break that does not survive the wire,
    such as `{"": []}` in the query, of which nothing is sent, a token of ours would make a sound request of it.
    """
    broken = [mutation for mutation in case.meta.phase.data.mutations if mutation.parameter_location == "header"]
    return any("Authorization" in (mutation.parameter, *mutation.path) for mutation in broken)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Nothing is collected meanwhile. hypothesis parses the source of strategies; when a collection in the middle of it
    parses too, as a traceback of a lost task does, Python 3.11 says SystemError (AST constructor recursion depth)."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.label for operation in OPERATIONS])
def test_operation(operation: Any, rows: dict[str, str], tenant: Tenant, operator: PortalAccount) -> None:
    token = staff_token(operator) if "/provisioning/" in operation.path else tenant.device_token

    @settings(max_examples=EXAMPLES)
    @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def try_it(case: Any) -> None:
        if "id" in (case.path_parameters or {}):
            collection = re.search(r"/((?:im/)?[a-z-]+)/\{id\}/", case.path)
            assert collection is not None
            case.path_parameters["id"] = rows[collection[1]]
        response = case.call(headers={} if breaks_login(case) else {"Authorization": f"Bearer {token}"})
        away = response.status_code == 502 and response.json()["code"] in AWAY
        # A carrier, or a BroadWorks, that does not answer is an error by contract, but none of this server.
        checks = [check for check in CHECKS if not (away and check is not_a_server_error)]
        case.validate_response(response, checks=checks)

    try_it()
