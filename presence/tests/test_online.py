"""Who is online in our own platform (S0.3)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal import clock
from portal.tests.factories import EndUserFactory
from presence.models import SignOfLife
from presence.services.online import ONLINE_FOR, note_online, online_among
from presence.tests.factories import last_sign

pytestmark = [pytest.mark.django_db, pytest.mark.core]


def test_s0_3_a_sign_of_life_holds_for_a_while_and_then_no_longer() -> None:
    here, gone, never = EndUserFactory.create_batch(3)
    note_online([here.pk, gone.pk])
    assert online_among([here.pk, gone.pk, never.pk]) == {here.pk, gone.pk}
    last_sign(gone, ago_s=1)
    assert online_among([here.pk, gone.pk, never.pk]) == {here.pk}
    assert online_among([]) == set()


def test_a_sign_is_renewed_in_time_and_not_written_at_every_look(django_assert_num_queries) -> None:
    """A look at the open streams comes every three seconds: only one in four writes."""
    user = EndUserFactory()
    note_online([user.pk])
    with django_assert_num_queries(1):
        note_online([user.pk])
    SignOfLife.objects.update(online_until=clock.now() + ONLINE_FOR / 3)
    note_online([user.pk])
    left = SignOfLife.objects.get().online_until - clock.now()
    assert left > ONLINE_FOR - timedelta(seconds=2)


def test_a_user_who_was_just_deleted_holds_up_nobody_elses_sign() -> None:
    """The look at all open streams is one: it must not fail for one of them."""
    here, deleted = EndUserFactory.create_batch(2)
    key = deleted.pk
    deleted.delete()
    note_online([here.pk, key])
    assert online_among([here.pk, key]) == {here.pk}
