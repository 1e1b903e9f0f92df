"""The scan for secrets bites: a scratch run in which tests leak on purpose fails at each of them, and at no other."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from cryptography.fernet import Fernet

from portal.encryption import encrypt
from tests.process_secrets import (
    ENCRYPTED,
    answered_at,
    hear,
    hear_answer,
    heard_at,
    keys_in,
    leaks_in,
    look_through_files,
    secrets_stored,
)
from tests.sandbox_process import ROOT

LEAKING = """
import logging

import pytest

from portal.services.tokens import digest_of

SECRET = "Zk8-marker-secret-42"


@pytest.fixture(autouse=True)
def _a_token_is_made():
    digest_of(SECRET)


def test_leaks_into_a_log_line():
    logging.getLogger("anywhere").warning("made %s", SECRET)


def test_leaks_into_what_is_printed():
    print(SECRET)


def test_leaks_into_a_task():
    from portal.celery import app

    app.send_task("anything", (SECRET,))


@pytest.mark.django_db
def test_leaks_into_a_column():
    from portal.models import SystemProvider

    SystemProvider.objects.create(name=SECRET)


@pytest.mark.django_db
def test_leaks_into_a_page(client):
    client.get("/login/", {"next": SECRET})


def test_leaks_into_an_event_stream():
    import io

    from portal.tests.servers import StreamClient

    frames = ['retry: 3000', 'event: hello', 'data: {}', '', f'data: {SECRET}', '', '']
    StreamClient(io.BytesIO("\\n".join(frames).encode())).frame()


def test_leaks_into_the_output_of_a_program():
    import subprocess

    subprocess.run(["sh", "-c", 'echo "$0" >&2', SECRET], check=True)


def leak(row):
    row.save()
    logging.getLogger("anywhere").warning("made %s", OTHER)


OTHER = "Xp5-marker-of-xmpp-77"


@pytest.mark.django_db
def test_leaks_a_password_of_xmpp():
    from xmpp.tests.factories import ImpAccountFactory

    account = ImpAccountFactory()
    account.password = OTHER
    leak(account)


@pytest.mark.django_db
def test_leaks_a_pending_password_of_xmpp():
    from xmpp.models import ImpAccount
    from xmpp.services.password_changes import hold
    from xmpp.tests.factories import ImpAccountFactory

    hold(ImpAccountFactory(), None, OTHER)
    logging.getLogger("anywhere").warning("made %s", OTHER)


@pytest.mark.django_db
def test_leaks_a_password_of_broadworks():
    from xmpp.tests.factories import BroadworksConnectionFactory

    leak(BroadworksConnectionFactory.build(password=OTHER, system_provider=provider()))


@pytest.mark.django_db
def test_leaks_a_secret_of_a_component():
    from xmpp.models import SmsGateway

    leak(SmsGateway(system_provider=provider(), domain="sms.example.com", host="im.example.com", secret=OTHER))


@pytest.mark.django_db
def test_leaks_a_password_that_was_refused():
    from portal.problems import Problem
    from portal.tests.factories import EndUserFactory
    from xmpp.services.passwords import check_password

    with pytest.raises(Problem):
        check_password(EndUserFactory(), OTHER)
    logging.getLogger("anywhere").warning("refused %s", OTHER)


def provider():
    from portal.tests.factories import SystemProviderFactory

    return SystemProviderFactory()


def test_keeps_it():
    logging.getLogger("anywhere").warning("made a token")
"""


def test_a_run_with_leaks_fails_at_each_of_them(tmp_path: Path) -> None:
    scratch = tmp_path / "test_scratch.py"
    scratch.write_text(LEAKING)
    away = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "PYTEST_ADDOPTS"}
    environment = {
        name: value for name, value in os.environ.items() if name not in away and not name.startswith("PYTEST_XDIST")
    } | {"PORTAL_VAR_DIR": str(tmp_path / "var")}
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pytest.ini"), "--rootdir", str(ROOT), "-n", "1"]
    done = subprocess.run(
        [*command, str(scratch)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    leaking = set(re.findall(r"def (test_leaks\w+)", LEAKING))
    assert set(re.findall(r"^ERROR \S*::(\w+) - A secret leaked", done.stdout, re.MULTILINE)) == leaking, done.stdout
    assert done.returncode == 1


def test_what_an_installation_puts_out_is_looked_through(tmp_path: Path) -> None:
    """For its keys, for what its database holds encrypted, for what was typed in, and for any token."""
    key, plain = Fernet.generate_key().decode(), "the-secret-of-a-hook"
    (tmp_path / "keys").write_text(f"{key}\n")
    (tmp_path / "secret_key").write_text("a-key-to-sign-sessions\n")
    with sqlite3.connect(tmp_path / "portal.sqlite3") as database:
        database.execute("CREATE TABLE platform (name, webhook_secret, credentials)")
        stored = [_encrypted(key, text) for text in (plain, '{"api_key": "the-key-of-a-carrier", "short": "1"}')]
        database.execute("INSERT INTO platform VALUES ('Acme', ?, ?)", stored)
    keys = keys_in(tmp_path)
    assert keys == {key, "a-key-to-sign-sessions"}
    secrets = secrets_stored(tmp_path / "portal.sqlite3", keys)
    assert secrets == {plain, "the-key-of-a-carrier"}
    token = "ppd_0123456789abcdefghijklmnop"
    for leaked in (*keys, *secrets, "typed-by-somebody", token):
        hear("http://stack", f"data: {leaked}\n".encode())
        [found] = leaks_in(
            {"a stream": heard_at("http://stack"), "fine": "nothing"}, keys | secrets | {"typed-by-somebody"}
        )
        assert found == r"a stream: 'data: <the secret>\n'"
    hear_answer("http://stack", token)
    assert leaks_in({"an answer": answered_at("http://stack")}, keys, tokens=False) == set()
    assert heard_at("http://stack") == answered_at("http://stack") == ""


def test_what_the_portal_encrypts_has_the_form_that_is_looked_for() -> None:
    assert ENCRYPTED.fullmatch(encrypt("anything"))
    assert ENCRYPTED.fullmatch(_encrypted(Fernet.generate_key().decode(), "anything"))


def _encrypted(key: str, plain: str) -> str:
    return f"0123abcd:{Fernet(key).encrypt(plain.encode()).decode()}"


def test_files_of_a_stack_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "task.msg").write_text('{"args": ["pps_0123456789abcdefghijklmnop"]}')
    (tmp_path / "spool").write_bytes(b"\x00\xffan-api-key\x00")
    (tmp_path / "keys").write_text("an-api-key")
    (tmp_path / "innocent").write_text("nothing")
    assert look_through_files(tmp_path, ["an-api-key"]) == {"broker/task.msg", "spool"}
