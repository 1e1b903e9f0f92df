"""The scan for secrets bites: a scratch run in which tests leak on purpose fails at each of them, and at no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.sandbox_process import ROOT
from tests.secret_scan import look_through_files

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


def test_files_of_a_stack_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "task.msg").write_text('{"args": ["pps_0123456789abcdefghijklmnop"]}')
    (tmp_path / "spool").write_bytes(b"\x00\xffan-api-key\x00")
    (tmp_path / "keys").write_text("an-api-key")
    (tmp_path / "innocent").write_text("nothing")
    assert look_through_files(tmp_path, ["an-api-key"]) == {"broker/task.msg", "spool"}
