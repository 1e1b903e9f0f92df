"""Opt-in: answers, evidence, alert mails, reset (S1.2–S1.11, S4.12–S4.14, R3, R10, R11)."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from cpaas.models import CpaasNumber, OptInEvidence
from cpaas.services.opt_in import prompt_of, record_opt_in, reset_opt_in
from cpaas.tests.factories import CpaasNumberFactory
from portal.models import AuditEntry, Event, OutgoingMail, PortalAccount
from portal.problems import Problem
from portal.services.mail import send_due_mails
from portal.tests.factories import PortalAccountFactory, ResellerFactory
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.django_db


@pytest.fixture
def pending() -> CpaasNumber:
    number = CpaasNumberFactory(
        number="+12012010580", friendly_name="Chris Cell", opt_in_state="pending", opt_in_at=None
    )
    provider = number.system_provider
    for name, send_alerts, is_active in (("anna", True, True), ("ben", False, True), ("carl", True, False)):
        PortalAccountFactory(
            scope=provider,
            username=name,
            email=f"{name}@example.com",
            send_alerts=send_alerts,
            is_active=is_active,
        )
    return number


def answer(number: CpaasNumber, word: str, **more: object) -> CpaasNumber:
    return record_opt_in(user=number.user, number=number, answer=word, **more)


def mails() -> list[tuple[str, str]]:
    return list(OutgoingMail.objects.order_by("id").values_list("to", "subject"))


def test_s1_4_yes_makes_the_number_usable_at_once_with_evidence(pending) -> None:
    shown = prompt_of(pending)
    number = answer(pending, "yes", prompt_id=shown["id"])
    assert number.is_usable
    assert number.opt_in_at is not None
    evidence = OptInEvidence.objects.get()
    assert (evidence.answer, evidence.state, evidence.tn) == ("yes", "accepted", "+12012010580")
    assert evidence.prompt_text == shown["text"]
    assert "2012010580" in shown["text"]
    assert number.system_provider.name in shown["text"]
    assert prompt_of(number) is None
    assert mails() == []
    assert Event.objects.get().type == "number.updated"


def test_s4_14_no_mails_every_active_alert_account_of_the_provider(pending) -> None:
    answer(pending, "no")
    assert mails() == [("anna@example.com", "Text messaging declined: 2012010580")]
    text = OutgoingMail.objects.get().text
    for part in ("2012010580", "Chris Cell", pending.user.name, pending.user.login, pending.group.name, "UTC"):
        assert part in text
    with pytest.raises(Problem) as problem:
        answer(pending, "yes")
    assert problem.value.code == "opt_in_closed"


def test_r3_cancel_asks_again_and_mails_once_a_cycle(pending) -> None:
    answer(pending, "cancel")
    answer(pending, "cancel")
    assert mails() == [("anna@example.com", "Text messaging postponed: 2012010580")]
    assert OptInEvidence.objects.count() == 1
    pending.refresh_from_db()
    assert prompt_of(pending) is not None
    answer(pending, "no")
    assert len(mails()) == 2


def test_r3_a_reset_starts_a_new_cycle_with_a_new_mail(pending) -> None:
    answer(pending, "cancel")
    reset_opt_in(actor=None, number=pending)
    pending.refresh_from_db()
    assert (pending.opt_in_state, pending.opt_in_at) == ("pending", None)
    answer(pending, "cancel")
    assert len(mails()) == 2
    assert OptInEvidence.objects.count() == 2


def test_the_same_answer_again_changes_nothing(pending) -> None:
    answer(pending, "no")
    answer(pending, "no")
    assert OptInEvidence.objects.count() == 1
    assert len(mails()) == 1


def test_an_answer_to_other_words_is_refused(pending) -> None:
    shown = prompt_of(pending)
    pending.platform.opt_in_prompt = "New words for {number}"
    pending.platform.save()
    with pytest.raises(Problem) as problem:
        answer(pending, "yes", prompt_id=shown["id"])
    assert problem.value.code == "prompt_changed"


def test_r11_nobody_is_asked_about_a_number_that_needs_no_opt_in(pending) -> None:
    CpaasNumber.objects.update(opt_in_state="not_required")
    for call in (lambda: answer(pending, "yes"), lambda: reset_opt_in(actor=None, number=pending)):
        with pytest.raises(Problem) as problem:
            call()
        assert problem.value.status == 409


def test_a_stranger_cannot_answer(pending) -> None:
    other = CpaasNumberFactory().user
    with pytest.raises(Problem) as problem:
        record_opt_in(user=other, number=pending, answer="yes")
    assert problem.value.code == "not_found"


def test_r10_branch_accounts_get_mails_of_their_own_branch(pending) -> None:
    PortalAccountFactory(scope=pending.reseller, email="branch@example.com", send_alerts=True)
    PortalAccountFactory(scope=ResellerFactory(), email="elsewhere@example.com", send_alerts=True)
    answer(pending, "no")
    assert {to for to, _ in mails()} == {"anna@example.com", "branch@example.com"}


def test_s1_7_the_database_refuses_to_change_evidence(pending) -> None:
    answer(pending, "no")
    with pytest.raises(DatabaseError), transaction.atomic():
        OptInEvidence.objects.update(answer="yes")
    with pytest.raises(DatabaseError), transaction.atomic():
        OptInEvidence.objects.all().delete()


def test_every_answer_and_reset_is_in_the_audit_trail(pending) -> None:
    staff = PortalAccount.objects.get(username="anna")
    answer(pending, "no")
    reset_opt_in(actor=staff, number=pending)
    rows = AuditEntry.objects.order_by("id").values_list("actor_kind", "actor_name", "action")
    assert list(rows) == [("user", pending.user.login, "opt_in"), ("staff", "anna", "reset_opt_in")]


def test_read_only_staff_cannot_reset(pending) -> None:
    staff = PortalAccount.objects.get(username="ben")
    staff.role = "read_only"
    with pytest.raises(Problem) as problem:
        reset_opt_in(actor=staff, number=pending)
    assert problem.value.code == "read_only"


def test_the_mail_arrives(pending, sandbox: SandboxProcess) -> None:
    answer(pending, "no")
    assert send_due_mails() == 1
    assert [mail["to"] for mail in sandbox.mails()] == [["anna@example.com"]]
    assert send_due_mails() == 0


def test_a_mail_server_that_is_down_gets_it_later(pending, sandbox: SandboxProcess) -> None:
    sandbox.call("PUT", "/mail/", {"state": "refusing"})
    answer(pending, "no")
    assert send_due_mails() == 0
    mail = OutgoingMail.objects.get()
    assert (mail.state, mail.tries) == ("queued", 1)
    sandbox.call("PUT", "/mail/", {"state": "up"})
    OutgoingMail.objects.update(next_at=mail.created_at)
    assert send_due_mails() == 1
