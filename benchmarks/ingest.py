"""Webhook ingest: our whole intake (secret, signature, replay check, message, conversation, event, all committed)
against a bare Flask INSERT and against DRF + ORM + Celery `.delay`, in turn, under the same load.

Goal (next issue): at least 0.8 times Flask and 2.5 times DRF + delay.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks._setup import BIN, free_port, prepare, process, show

SECONDS = int(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CONNECTIONS = 32
NUMBERS = 200
REQUESTS = 40_000
_LUA = """
local lines, n = {}, 0
for line in io.lines("%s") do lines[#lines + 1] = line end
request = function()
  n = n + 1
  local nonce, token, body = lines[(n - 1) %% #lines + 1]:match("^(%%S+) (%%S+) (.*)$")

  return wrk.format("POST", "%s", {["Content-Type"] = "application/json", ["messageID"] = nonce,
    ["verificationToken"] = token}, body)
end
"""


def main() -> None:
    prepare()
    if not subprocess.run(["which", "wrk"], capture_output=True).stdout:
        sys.exit("This benchmark needs the Debian package wrk.")
    path, key, numbers = _tenant()
    _create_baseline_table()
    servers = {
        "portal": _granian("portal.wsgi:application", "--workers", "2", "--blocking-threads", "8"),
        "Flask + INSERT": _gunicorn("benchmarks._baselines.flask_insert:app"),
        "DRF + ORM + delay": _gunicorn("benchmarks._baselines.drf_delay:application"),
    }
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for round_number in range(ROUNDS):
        for index, (name, (command, port)) in enumerate(servers.items()):
            requests = _requests(key, numbers, f"{round_number}-{index}")
            with process(*command, port=port):
                rates[name].append(_load(port, path, requests))
    ours = rates["portal"]
    rows: list[tuple[str, ...]] = [("server", "requests/s (median)", "all rounds", "portal / it")]
    for name, found in rates.items():
        ratio = median(mine / theirs for mine, theirs in zip(ours, found, strict=True))
        rows.append((name, f"{median(found):.0f}", " ".join(f"{rate:.0f}" for rate in found), f"{ratio:.2f}"))
    show(f"Webhook ingest, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s", rows)
    _check_everything_was_stored()


def _granian(target: str, *options: str) -> tuple[list[str], int]:
    port = free_port()
    command = [str(BIN / "granian"), "--interface", "wsgi", "--port", str(port), "--log-level", "warning"]
    return [*command, *options, target], port


def _gunicorn(target: str) -> tuple[list[str], int]:
    port = free_port()
    command = [str(BIN / "gunicorn"), "-b", f"127.0.0.1:{port}", "--log-level", "error"]
    return [*command, "-w", "2", "-k", "gthread", "--threads", "8", target], port


def _tenant() -> tuple[str, str, list[str]]:
    """A platform with numbers; returns its webhook path, its inbound key and the numbers."""
    from cpaas.tests.factories import CREDENTIALS, CpaasNumberFactory, CpaasPlatformFactory
    from portal.tests.factories import EndUserFactory, GroupFactory

    group = GroupFactory()
    platform = CpaasPlatformFactory(system_provider=group.system_provider)
    numbers = [CpaasNumberFactory(user=EndUserFactory(group=group), platform=platform).number for _ in range(NUMBERS)]
    path = f"/webhooks/inteliquent/{platform.pk}/{platform.webhook_secret}/"
    return path, CREDENTIALS["inbound_api_key"], numbers


def _create_baseline_table() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_message (id bigserial PRIMARY KEY, sid text, sender text, recipient text, text text)"
        )


def _requests(key: str, numbers: list[str], salt: str) -> Path:
    """Signed calls, each with its own id: nonce, token and body a line."""
    path = Path(tempfile.mkstemp(prefix="portal-bench-")[1])
    with path.open("w") as file:
        for n in range(REQUESTS):
            nonce = f"{salt}-{n}"
            token = hashlib.sha256((key + nonce).encode()).hexdigest()
            remote = f"1703608{n % 2000:04d}"
            body = {"referenceId": nonce, "from": remote, "to": [numbers[n % len(numbers)][1:]], "text": "Hello there"}
            file.write(f"{nonce} {token} {json.dumps(body)}\n")
    return path


def _load(port: int, path: str, requests: Path) -> float:
    """Requests a second that were answered 2xx. One wrk thread, so that no call is sent twice."""
    script = Path(tempfile.mkstemp(suffix=".lua")[1])
    script.write_text(_LUA % (requests, path))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise RuntimeError(out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]


def _check_everything_was_stored() -> None:
    from cpaas.models import Conversation, Message, WebhookEvent

    stored = Message.objects.count()
    assert stored == WebhookEvent.objects.count(), "every call that was taken is a message"
    assert stored == sum(Conversation.objects.values_list("new_count", flat=True)), "and counted as new"
    print(f"{stored} messages stored, each counted once")


if __name__ == "__main__":
    main()
