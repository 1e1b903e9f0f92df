"""System checks: each misconfiguration is told, and a production-like environment has none (architecture 3.6)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks

from portal import checks
from portal.celery import app

# Django's and Celery's, set by our own code.
OWN = {"DJANGO_SETTINGS_MODULE", "CELERY_SKIP_CHECKS"}
ROOT = Path(__file__).resolve().parent.parent.parent


def ids(messages) -> list[str]:
    return [message.id for message in messages]


def test_prefork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.conf, "worker_pool", "prefork")
    assert "portal.E001" in ids(run_checks())


def test_one_host_parts_without_debug_are_refused_unless_one_host_is_meant(settings) -> None:
    settings.TESTING, settings.DEBUG = False, False
    settings.IS_SQLITE, settings.CELERY_BROKER_URL = True, "atomicfs://"
    assert ids(checks.check_single_host(None)) == ["portal.E002"]
    settings.IS_SQLITE = False
    assert ids(checks.check_single_host(None)) == ["portal.E002"]
    settings.CELERY_BROKER_URL = "amqp://broker/"
    assert checks.check_single_host(None) == []
    settings.IS_SQLITE, settings.SINGLE_HOST = True, True
    assert checks.check_single_host(None) == []


def test_a_missing_secret_key_is_told(settings) -> None:
    assert checks.check_secret_key(None) == []
    settings.SECRET_KEY = ""
    assert ids(checks.check_secret_key(None)) == ["portal.E003"]


def production_environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PORTAL_VAR_DIR": str(tmp_path),
        "SECRET_KEY": "w3-" + "kX9_qP" * 12,
        "DATABASE_URL": "postgres://portal@127.0.0.1:1/portal",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "PORTAL_PUBLIC_URL": "https://portal.example.net",
        "PORTAL_TRUSTED_PROXIES": "127.0.0.1",
        "EMAIL_URL": "smtp+tls://portal:secret@mail.example.net:587",
    }


def test_a_proxy_that_is_not_named_is_told(settings) -> None:
    settings.SINGLE_HOST, settings.PUBLIC_URL, settings.TRUSTED_PROXIES = False, "https://portal.example.net", []
    assert ids(checks.check_proxies(None)) == ["portal.W002"]
    settings.TRUSTED_PROXIES = ["192.0.2.1"]
    assert checks.check_proxies(None) == []


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_check_deploy_is_clean_in_the_environment_of_the_readme(tmp_path: Path) -> None:
    environment = production_environment(tmp_path)
    table = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(table) == environment.keys() - {"PATH", "PORTAL_VAR_DIR"}
    done = manage(environment, "check", "--deploy", "--fail-level", "WARNING")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_empty_environment_names_everything_that_is_missing(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PORTAL_VAR_DIR": str(tmp_path)}
    done = manage(environment, "check", "--deploy")
    assert done.returncode == 1
    for check in ("portal.E002", "portal.E003", "portal.W001"):
        assert check in done.stderr


def test_every_variable_that_is_read_stands_in_the_example() -> None:
    listed = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read: set[str] = set()
    for file in [*ROOT.glob("portal/**/*.py"), *ROOT.glob("cpaas/**/*.py")]:
        if "tests" not in file.parts:
            read |= set(re.findall(r"\benv(?:iron)?(?:\.\w+)?\(\s*\"([A-Z][A-Z0-9_]+)\"", file.read_text()))
            read |= set(re.findall(r"environ\.get\(\"([A-Z][A-Z0-9_]+)\"", file.read_text()))
    assert len(read) > 20
    assert read - OWN <= listed
