"""Platforms, numbers, evidence and media streams over REST (contracts section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas.models import CpaasNumber, CpaasPlatform, Message
from cpaas.services import opt_in
from cpaas.tests.factories import (
    CREDENTIALS,
    ConversationFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    MediaStreamFactory,
    MessageFactory,
    OptInEvidenceFactory,
)
from portal.models import AuditEntry, OutgoingMail
from portal.services.accounts import alert_accounts
from portal.tests.tenants import Tenant, make_tenant
from portal.tests.test_api_conventions import problem
from tests.sandbox_process import NUMBERS, SandboxProcess

BASE = "/api/v1/provisioning/"


@pytest.fixture
def messaging(two_tenants: tuple[Tenant, Tenant]) -> dict[str, dict[str, Any]]:
    """Per tenant a platform, a number of its user with a text, evidence and a media stream."""
    found = {}
    for tenant in two_tenants:
        platform = CpaasPlatformFactory(system_provider=tenant.system_provider, name=f"{tenant.mark} carrier")
        number = CpaasNumberFactory(user=tenant.user, platform=platform, friendly_name=f"{tenant.mark} line")
        MessageFactory(conversation=ConversationFactory(number=number), text=f"{tenant.mark} text")
        evidence = OptInEvidenceFactory(number=number)
        stream = MediaStreamFactory(group=tenant.group, name=f"{tenant.mark} desk")
        found[tenant.mark] = {"platforms": platform, "numbers": number, "evidence": evidence, "media-streams": stream}
    return found


class TestIsolation:
    @pytest.mark.parametrize("field", ["user", "platform", "media_stream"])
    def test_a_number_for_or_through_a_strangers_row_is_404(self, api, two_tenants, messaging, field):
        acme, zenith = two_tenants
        foreign = {
            "user": zenith.user,
            "platform": messaging["Zenith"]["platforms"],
            "media_stream": messaging["Zenith"]["media-streams"],
        }
        body = {"number": "2019920770", "user": str(acme.user.pk), field: str(foreign[field].pk)}
        if field == "media_stream":
            del body["user"]
        problem(api(acme.token).post(f"{BASE}numbers/", body), 404, "not_found")

    def test_evidence_of_a_strangers_number_is_an_empty_list(self, api, two_tenants, messaging):
        acme, zenith = two_tenants
        tn = messaging["Zenith"]["numbers"].number
        assert api(acme.token).get(f"{BASE}opt-in-history/", {"tn": tn}).json()["results"] == []
        assert len(api(zenith.token).get(f"{BASE}opt-in-history/", {"tn": tn}).json()["results"]) == 1

    def test_below_the_system_provider_platforms_are_not_shown_but_may_be_chosen(self, api, two_tenants, messaging):
        acme, _ = two_tenants
        client = api(acme.staff_tokens["group", "administrator"])
        assert client.get(f"{BASE}platforms/").json()["results"] == []
        assert client.get(f"{BASE}platform-choices/").json()["results"] == [
            {"id": str(messaging["Acme"]["platforms"].pk), "carrier": "inteliquent", "name": "Acme carrier"}
        ]

    @pytest.mark.parametrize("path", ["platforms", "numbers", "media-streams"])
    def test_who_may_only_read_may_not_write(self, api, two_tenants, messaging, path):
        client = api(two_tenants[0].staff_tokens["system_provider", "read_only"])
        own = f"{BASE}{path}/{messaging['Acme'][path].pk}/"
        for response in (client.post(f"{BASE}{path}/", {}), client.patch(own, {}), client.delete(own)):
            problem(response, 403, "read_only")
        if path == "numbers":
            problem(client.post(f"{own}delete-messages/"), 403, "read_only")


class TestPlatforms:
    def test_secrets_are_masked_and_urls_are_for_administrators_only(self, api, two_tenants, messaging, operator):
        acme, _ = two_tenants
        platform: CpaasPlatform = messaging["Acme"]["platforms"]
        path = f"{BASE}platforms/{platform.pk}/"
        shown = api(acme.token).get(path)
        for secret in CREDENTIALS.values():
            assert secret not in shown.content.decode()
        assert shown.json()["credentials"]["api_secret"] == "••••0002"
        assert shown.json()["inbound_url"] == platform.inbound_url
        assert shown.json()["status_url"] == platform.status_url
        assert api(operator).get(path).json()["inbound_url"] == platform.inbound_url
        reader = api(acme.staff_tokens["system_provider", "read_only"]).get(path)
        assert (reader.json()["inbound_url"], reader.json()["status_url"]) == (None, None)
        assert platform.webhook_secret not in reader.content.decode()

    def test_options_show_what_holds(self, api, two_tenants, messaging):
        acme, _ = two_tenants
        options = api(acme.token).get(f"{BASE}platforms/").json()["results"][0]["options"]
        assert options["services_url"] == "https://services.inteliquent.com/Services/2.0.0"
        assert options["broker_url"] == "https://messagebroker.inteliquent.com/msgbroker/rest"
        assert (options["allowed_countries"], options["per_number_per_day"]) == (["US"], 1000)

    def test_without_an_alert_account_none_is_added(self, api, two_tenants):
        acme, _ = two_tenants
        acme.administrator.send_alerts = False
        acme.administrator.save()
        body = {
            "system_provider": str(acme.system_provider.pk),
            "carrier": "inteliquent",
            "name": "x",
            "credentials": CREDENTIALS,
        }
        problem(api(acme.token).post(f"{BASE}platforms/", body), 409, "no_alert_account")

    @pytest.mark.parametrize("carrier", ["pigeon", "", 5])
    def test_an_unknown_carrier(self, api, two_tenants, carrier):
        acme, _ = two_tenants
        body = {
            "system_provider": str(acme.system_provider.pk),
            "carrier": carrier,
            "name": "x",
            "credentials": CREDENTIALS,
        }
        assert list(problem(api(acme.token).post(f"{BASE}platforms/", body), 400, "invalid")["errors"]) == ["carrier"]

    def test_the_last_alert_account_stays(self, api, two_tenants, messaging, operator):
        acme, _ = two_tenants
        path = f"{BASE}portal-accounts/{acme.administrator.pk}/"
        for response in (api(operator).delete(path), api(operator).patch(path, {"send_alerts": False})):
            problem(response, 409, "last_alert_account")


class TestAtTheCarrier:
    """Against the simulated carrier."""

    @pytest.fixture
    def acme(self, transactional_db: None, sandbox: SandboxProcess) -> Tenant:
        return make_tenant("Acme")

    @pytest.fixture
    def body(self, acme: Tenant, sandbox: SandboxProcess) -> dict[str, Any]:
        return {
            "system_provider": str(acme.system_provider.pk),
            "carrier": "inteliquent",
            "name": "Main",
            "credentials": sandbox.credentials,
            "options": sandbox.options,
        }

    @pytest.fixture
    def made(self, api, acme: Tenant, body: dict[str, Any]) -> dict[str, Any]:
        response = api(acme.token).post(f"{BASE}platforms/", body)
        assert response.status_code == 201, response.json()
        return response.json()

    def test_a_platform_is_probed_and_added(self, made: dict[str, Any], sandbox: SandboxProcess):
        assert made["status"]["state"] == "connected"
        assert (made["user_confirmation_required"], made["user_can_block"], made["mms"]) == (True, False, False)
        assert made["options"]["services_url"] == sandbox.options["services_url"]

    def test_a_refused_platform_is_not_saved(self, api, acme: Tenant, body: dict[str, Any]):
        body["credentials"] = {**body["credentials"], "api_secret": "wrong"}
        problem(api(acme.token).post(f"{BASE}platforms/", body), 400, "carrier_rejected")
        assert not CpaasPlatform.objects.exists()

    def test_an_unreachable_carrier_is_not_kept_by_the_key(self, api, acme, body, sandbox):
        key = {"Idempotency-Key": "k"}
        sandbox.carrier(state="unavailable")
        problem(api(acme.token).post(f"{BASE}platforms/", body, headers=key), 502, "carrier_unreachable")
        sandbox.carrier(state="up")
        first = api(acme.token).post(f"{BASE}platforms/", body, headers=key)
        second = api(acme.token).post(f"{BASE}platforms/", body, headers=key)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert CpaasPlatform.objects.count() == 1

    def test_patch_keeps_blank_secrets_and_merges_options(self, api, acme: Tenant, made: dict[str, Any]):
        path = f"{BASE}platforms/{made['id']}/"
        before = CpaasPlatform.objects.get().credentials
        change = {"credentials": {"api_secret": ""}, "options": {"per_number_per_minute": 5}, "name": "Renamed"}
        changed = api(acme.token).patch(path, change)
        assert changed.status_code == 200, changed.json()
        assert CpaasPlatform.objects.get().credentials == before
        assert changed.json()["options"]["per_number_per_minute"] == 5
        back = api(acme.token).patch(path, {"options": {"per_number_per_minute": None}}).json()
        assert back["options"]["per_number_per_minute"] == 60
        assert back["options"]["services_url"] == made["options"]["services_url"]

    def test_r9_no_key_goes_to_a_new_address_in_secret(self, api, acme: Tenant, made: dict[str, Any]):
        """Blank secrets are kept, so whoever may change the address could have them sent to their own."""
        client, path = api(acme.token), f"{BASE}platforms/{made['id']}/"
        assert client.patch(path, {"options": {"services_url": made["options"]["services_url"]}}).status_code == 200
        assert not OutgoingMail.objects.exists()
        away = "http://127.0.0.1:9/services"
        problem(client.patch(path, {"options": {"services_url": away}}), 502, "carrier_unreachable")
        assert client.get(path).json()["options"] == made["options"]
        alerted = {account.email for account in alert_accounts(acme.system_provider.pk)}
        assert alerted
        assert {mail.to for mail in OutgoingMail.objects.all()} == alerted
        text = OutgoingMail.objects.first().text
        assert f"{acme.administrator.username} gave another address" in text
        assert f"{away} (was {made['options']['services_url']})" in text
        assert AuditEntry.objects.get(action="new_address").after["services_url"] == away

    def test_null_takes_a_key_back_and_what_is_generated_is_made_anew(self, api, acme: Tenant, made: dict[str, Any]):
        client, path = api(acme.token), f"{BASE}platforms/{made['id']}/"
        changed = client.patch(path, {"credentials": {"inbound_api_key": None}})
        assert changed.status_code == 200
        assert changed.json()["credentials"]["inbound_api_key"] != made["credentials"]["inbound_api_key"]
        refused = problem(client.patch(path, {"credentials": {"api_key": None}}), 400, "invalid")
        assert list(refused["errors"]) == ["credentials.api_key"]

    def test_testing_a_platform_tells_its_state(self, api, acme: Tenant, made: dict[str, Any], sandbox: SandboxProcess):
        sandbox.carrier(state="unavailable")
        tested = api(acme.token).post(f"{BASE}platforms/{made['id']}/test/")
        assert (tested.status_code, tested.json()["status"]["state"]) == (200, "failed")
        assert tested.json()["status"]["detail"]

    def test_a_number_from_assignment_to_removal(self, api, acme: Tenant, made: dict[str, Any]):
        client = api(acme.staff_tokens["group", "administrator"])
        body = {"number": NUMBERS[0][2:], "user": str(acme.user.pk), "platform": made["id"]}
        response = client.post(f"{BASE}numbers/", body)
        assert response.status_code == 201, response.json()
        number = response.json()
        assert (number["number"], number["status"]) == (NUMBERS[0], "provisioning")
        assert (number["national"], number["display"]) == (NUMBERS[0][2:], NUMBERS[0][2:])
        assert number["friendly_name"] == number["national"]  # S4.25
        assert (number["messaging_type"], number["message_count"]) == ("SMS", 0)
        assert number["opt_in"] == {"state": "pending", "at": None, "by": None, "text": None}
        path = f"{BASE}numbers/{number['id']}/"
        assert client.get(path).json()["number"] == NUMBERS[0]
        changed = client.patch(path, {"friendly_name": "Chris Cell"}).json()
        assert changed["display"] == f"Chris Cell ({NUMBERS[0][2:]})"
        assert client.patch(path, {"friendly_name": ""}).json()["friendly_name"] == NUMBERS[0][2:]
        for field, value in (("user", str(acme.colleague.pk)), ("platform", made["id"]), ("number", NUMBERS[1])):
            problem(client.patch(path, {field: value}), 409, "use_transfer")
        problem(api(acme.token).delete(f"{BASE}platforms/{made['id']}/"), 409, "in_use")
        removed = client.delete(path)
        assert (removed.status_code, removed.json()["status"]) == (202, "removing")

    def test_the_exact_text_for_a_number_of_somebody_else(self, api, acme: Tenant, made: dict[str, Any]):
        response = api(acme.token).post(f"{BASE}numbers/", {"number": "2015550199", "user": str(acme.user.pk)})
        assert problem(response, 400, "number_not_on_account")["detail"] == (
            "This number is not assigned to this Inteliquent account, please check the number and try again or check "
            "with the Inteliquent customer portal for more information"
        )

    def test_a_number_taken_by_another_tenant_is_just_not_available(self, api, acme: Tenant, made: dict[str, Any]):
        CpaasNumberFactory(number=NUMBERS[0], user__name="Zenith user")
        response = api(acme.token).post(f"{BASE}numbers/", {"number": NUMBERS[0], "user": str(acme.user.pk)})
        problem(response, 409, "number_not_available")
        assert "Zenith" not in response.content.decode()

    def test_either_a_user_or_a_media_stream(self, api, acme: Tenant, made: dict[str, Any]):
        problem(api(acme.token).post(f"{BASE}numbers/", {"number": NUMBERS[0]}), 400, "invalid")
        stream = MediaStreamFactory(group=acme.group)
        body = {"number": NUMBERS[0], "media_stream": str(stream.pk)}
        number = api(acme.token).post(f"{BASE}numbers/", body).json()
        assert (number["opt_in"]["state"], number["user"]) == ("not_required", None)


class TestNumbers:
    def test_the_list_is_filtered_by_id_or_telephone_number(self, api, two_tenants, messaging):
        """`number` in filters is a number's id (contracts 2); here it may be the telephone number as well."""
        acme, _ = two_tenants
        own, foreign = messaging["Acme"]["numbers"], messaging["Zenith"]["numbers"]
        for value, count in ((own.pk, 1), (own.number, 1), (foreign.pk, 0), (foreign.number, 0)):
            found = api(acme.token).get(f"{BASE}numbers/", {"number": str(value)}).json()["results"]
            assert [row["id"] for row in found] == [str(own.pk)] * count

    def test_several_platforms_and_none_named(self, api, two_tenants, messaging):
        acme, _ = two_tenants
        CpaasPlatformFactory(system_provider=acme.system_provider)
        body = {"number": "2019920770", "user": str(acme.user.pk)}
        problem(api(acme.token).post(f"{BASE}numbers/", body), 400, "platform_required")

    def test_no_platform(self, api, two_tenants):
        acme, _ = two_tenants
        body = {"number": "2019920770", "user": str(acme.user.pk)}
        problem(api(acme.token).post(f"{BASE}numbers/", body), 409, "no_platform")

    @pytest.mark.parametrize("field", ["status", "opt_in", "message_count", "display", "id"])
    def test_read_only_fields_are_named(self, api, two_tenants, messaging, field):
        path = f"{BASE}numbers/{messaging['Acme']['numbers'].pk}/"
        response = api(two_tenants[0].token).patch(path, {field: "x"})
        assert list(problem(response, 400, "invalid")["errors"]) == [field]

    def test_the_answer_to_the_prompt_is_shown(self, api, two_tenants, messaging):
        number: CpaasNumber = messaging["Acme"]["numbers"]
        shown = api(two_tenants[0].token).get(f"{BASE}numbers/{number.pk}/").json()
        assert shown["opt_in"] == {
            "state": "accepted",
            "at": number.opt_in_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "by": two_tenants[0].user.login,
            "text": messaging["Acme"]["evidence"].prompt_text,
        }
        assert shown["message_count"] == 1

    def test_reset_then_asked_again(self, api, two_tenants, messaging):
        acme, path = two_tenants[0], f"{BASE}numbers/{messaging['Acme']['numbers'].pk}/"
        reset = api(acme.token).post(f"{path}reset-opt-in/")
        assert reset.status_code == 200
        assert reset.json()["opt_in"] == {"state": "pending", "at": None, "by": None, "text": None}
        assert len(api(acme.token).get(f"{path}opt-in-history/").json()["results"]) == 1

    def test_reset_of_what_nobody_was_asked(self, api, two_tenants, messaging):
        stream = messaging["Acme"]["media-streams"]
        number = CpaasNumberFactory(media_stream=stream, platform=messaging["Acme"]["platforms"])
        response = api(two_tenants[0].token).post(f"{BASE}numbers/{number.pk}/reset-opt-in/")
        problem(response, 409, "opt_in_not_required")

    def test_delete_messages(self, api, two_tenants, messaging):
        path = f"{BASE}numbers/{messaging['Acme']['numbers'].pk}/delete-messages/"
        assert api(two_tenants[0].token).post(path).json()["message_count"] == 0
        assert not Message.objects.filter(text="Acme text").exists()
        assert Message.objects.filter(text="Zenith text").exists()

    def test_retry_only_what_failed(self, api, two_tenants, messaging):
        number = messaging["Acme"]["numbers"]
        path = f"{BASE}numbers/{number.pk}/retry/"
        problem(api(two_tenants[0].token).post(path), 409, "not_failed")
        CpaasNumber.objects.filter(pk=number.pk).update(status="failed")
        assert api(two_tenants[0].token).post(path).json()["status"] == "provisioning"

    def test_an_action_takes_no_fields(self, api, two_tenants, messaging):
        path = f"{BASE}numbers/{messaging['Acme']['numbers'].pk}/retry/"
        assert list(problem(api(two_tenants[0].token).post(path, {"now": 1}), 400, "invalid")["errors"]) == ["now"]

    def test_a_page_costs_the_same_number_of_queries(self, api, two_tenants, messaging, django_assert_max_num_queries):
        for _ in range(20):
            CpaasNumberFactory(user=two_tenants[0].user, platform=messaging["Acme"]["platforms"])
        with django_assert_max_num_queries(6):
            assert len(api(two_tenants[0].token).get(f"{BASE}numbers/").json()["results"]) == 21


class TestEvidence:
    @pytest.mark.parametrize("form", ["+{}", "{}", " {}"])
    def test_it_answers_by_number_in_any_escaping_also_when_it_is_gone(self, api, two_tenants, messaging, form):
        acme, number = two_tenants[0], messaging["Acme"]["numbers"]
        tn = number.number
        Message.objects.all().delete()
        CpaasNumber.objects.filter(pk=number.pk).delete()
        rows = api(acme.token).get(f"{BASE}opt-in-history/", {"tn": form.format(tn[1:])}).json()["results"]
        assert set(rows[0]) >= {"at", "tn", "user", "answer", "actor", "prompt_text", "client", "ip"}
        assert (rows[0]["tn"], rows[0]["answer"], rows[0]["user"]) == (tn, "yes", str(acme.user.pk))

    def test_the_number_is_required(self, api, two_tenants):
        for query in ({}, {"tn": ""}):
            response = api(two_tenants[0].token).get(f"{BASE}opt-in-history/", query)
            assert list(problem(response, 400, "invalid")["errors"]) == ["tn"]

    def test_it_cannot_be_written(self, api, two_tenants, messaging):
        path = f"{BASE}opt-in-history/"
        problem(api(two_tenants[0].token).post(path, {}), 405, "method_not_allowed")

    def test_answers_of_all_cycles_newest_first(self, api, two_tenants, messaging):
        acme, number = two_tenants[0], messaging["Acme"]["numbers"]
        opt_in.reset_opt_in(actor=acme.administrator, number=number)
        opt_in.record_opt_in(user=acme.user, number=number, answer="no")
        rows = api(acme.token).get(f"{BASE}numbers/{number.pk}/opt-in-history/").json()["results"]
        assert [(row["answer"], row["state"]) for row in rows] == [("no", "declined"), ("yes", "accepted")]


class TestMediaStreams:
    def test_a_stream_and_its_agents(self, api, tenant: Tenant):
        client = api(tenant.token)
        body = {"group": str(tenant.group.pk), "name": "Desk", "agents": [str(tenant.user.pk)]}
        made = client.post(f"{BASE}media-streams/", body)
        assert made.status_code == 201, made.json()
        stream = made.json()
        assert (stream["media_type"], stream["routing"]) == ("sms", "ring_all")
        assert stream["agents"] == [str(tenant.user.pk)]
        path = f"{BASE}media-streams/{stream['id']}/"
        changed = client.patch(path, {"routing": "longest_idle", "agents": []}).json()
        assert (changed["routing"], changed["agents"], changed["name"]) == ("longest_idle", [], "Desk")
        problem(client.patch(path, {"agents": [str(tenant.other_user.pk)]}), 400, "invalid")
        assert client.delete(path).status_code == 204

    def test_a_stream_with_a_number_stays(self, api, tenant: Tenant):
        stream = MediaStreamFactory(group=tenant.group)
        CpaasNumberFactory(media_stream=stream)
        problem(api(tenant.token).delete(f"{BASE}media-streams/{stream.pk}/"), 409, "in_use")
