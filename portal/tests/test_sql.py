"""Rows read and written without the ORM are those that the ORM reads, on both databases."""

from __future__ import annotations

import pytest
from django.db.models import Model

from portal.models import Device
from portal.services.tokens import device_of_token
from portal.sql import insert
from portal.tests.factories import EndUserFactory, device_token

pytestmark = [pytest.mark.django_db, pytest.mark.core]


def columns(row: Model) -> dict[str, tuple[type, object]]:
    return {
        field.attname: (type(getattr(row, field.attname)), getattr(row, field.attname))
        for field in row._meta.concrete_fields
    }


def test_the_device_of_a_token_and_its_user_are_as_the_orm_reads_them() -> None:
    device = device_of_token(device_token(EndUserFactory()))
    expected = Device.objects.select_related("user").get(pk=device.pk)
    assert columns(device) == columns(expected)
    assert columns(device.user) == columns(expected.user)


def test_an_inserted_row_is_as_it_was_given() -> None:
    device = device_of_token(device_token(EndUserFactory()))
    Device.objects.filter(pk=device.pk).delete()
    insert(device)
    assert columns(Device.objects.get(pk=device.pk)) == columns(device)
