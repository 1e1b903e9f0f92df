"""Keys of stored secrets: an unknown one is told, and all secrets move to the first one (R9, contracts section 1)."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection

from cpaas.models import CpaasPlatform
from cpaas.tests.factories import CpaasPlatformFactory
from portal.encryption import encrypt
from portal.management.commands import rotatekeys

pytestmark = [pytest.mark.core, pytest.mark.django_db]


@pytest.fixture
def platform() -> CpaasPlatform:
    """A platform with credentials under the present first key."""
    return CpaasPlatformFactory()


def stored_credentials() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials FROM cpaas_cpaasplatform")
        return cursor.fetchone()[0]


def ids(messages) -> list[str]:
    return [message.id for message in messages]


def test_a_secret_under_an_unknown_key_is_told_by_the_database_check_only(settings, platform) -> None:
    assert ids(run_checks(databases=["default"])) == []
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert "portal.E004" in ids(run_checks(databases=["default"]))
    assert "portal.E004" not in ids(run_checks())


def test_rotatekeys_puts_every_secret_under_the_first_key(settings, platform, capsys) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    call_command("rotatekeys")
    assert "CpaasPlatform.credentials: 1 re-encrypted" in capsys.readouterr().out
    call_command("rotatekeys")
    assert "CpaasPlatform.credentials: 0 re-encrypted" in capsys.readouterr().out
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    after = CpaasPlatform.objects.get()
    assert (after.credentials, after.webhook_secret) == (platform.credentials, platform.webhook_secret)
    assert run_checks(databases=["default"]) == []


def test_rotatekeys_does_not_undo_a_change_made_meanwhile(settings, platform, monkeypatch) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    newer = encrypt('{"api_key": "changed meanwhile"}')

    def change_then_encrypt(plain: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE cpaas_cpaasplatform SET credentials = %s", [newer])
        return encrypt(plain)

    monkeypatch.setattr(rotatekeys, "encrypt", change_then_encrypt)
    assert rotatekeys.rotate(CpaasPlatform, "credentials") == 0
    assert stored_credentials() == newer
