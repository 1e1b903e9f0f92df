"""scripts/audit-packages says what pip-audit finds: pip-audit is the real one, only the advisories' server is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
VULNERABLE, ADVISORY, MENDED = "django", "PYSEC-2099-1", "99.0"


class Advisories(BaseHTTPRequestHandler):
    """Answers queries as https://google.github.io/osv.dev/post-v1-query/ says."""

    found: dict[str, list[dict[str, Any]]] = {}

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert query["package"]["ecosystem"] == "PyPI"
        assert query["version"]
        vulns = self.found.get(query["package"]["name"])
        body = json.dumps({"vulns": vulns} if vulns else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def advisory(package: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": MENDED}]
    affected = {
        "package": {"name": package, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": ADVISORY, "summary": "It lets strangers in.", "affected": [affected]}


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """`audit(found)`: the script's run against a server that gives these advisories for these packages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    thread = Thread(target=server.serve_forever)
    thread.start()

    def run(found: dict[str, list[dict[str, Any]]], port: int = server.server_port) -> subprocess.CompletedProcess[str]:
        server.RequestHandlerClass = type("Answering", (Advisories,), {"found": found})
        environment = os.environ | {
            "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
            "PIP_AUDIT_OSV_URL": f"http://127.0.0.1:{port}/v1/query",
            "XDG_CACHE_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
        }
        command = [str(ROOT / "scripts/audit-packages"), sys.executable]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_vulnerable_package_fails_and_is_named_with_the_version_that_mends_it(
    audit: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    ended = audit({VULNERABLE: [advisory(VULNERABLE)]})
    assert ended.returncode == 1, ended
    [line] = ended.stdout.splitlines()
    assert line.startswith(f"{VULNERABLE} ")
    assert line.endswith(f": {ADVISORY}, mended in {MENDED}")
    assert "known vulnerabilities" in ended.stderr


def test_packages_without_advisories_pass(audit: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ended = audit({})
    assert (ended.returncode, ended.stderr) == (0, "")
    packages = sum(line[:1].isalnum() for line in (ROOT / "constraints.txt").read_text().splitlines())
    assert ended.stdout == f"pip-audit: {packages} packages, none with a known vulnerability\n"


def test_a_server_out_of_reach_is_said_and_audits_nothing(
    audit: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    ended = audit({}, port=9)
    assert ended.returncode == 0, ended
    assert ended.stdout.startswith("NOT AUDITED: ")
