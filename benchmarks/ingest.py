"""Webhook ingest: our whole intake (secret, signature, replay check, message, conversation, event, all committed)
against a bare Flask INSERT and against DRF + ORM + Celery `.delay`, in turn, under the same load.

Beside it the same calls once more, as a carrier repeats them: each is authenticated, found and answered.

Goals: at least 0.8 times Flask and 2.5 times DRF + delay, p99 at most 1.5 times Flask's, repeats not slower.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks._setup import BIN, prepare, process, show
from tests.ports import free_port

SECONDS = int(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CONNECTIONS = 32
WARM_UP_S = 5
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


REPEATED = "portal, the same calls again"


@dataclass(frozen=True)
class Load:
    """What a server made of the load of one round."""

    rate: float
    p99_ms: float


def main() -> None:
    prepare()
    if not subprocess.run(["which", "wrk"], capture_output=True).stdout:
        sys.exit("This benchmark needs the Debian package wrk.")
    path, key, numbers = _tenant()
    _create_baseline_table()
    servers = {
        "portal": _granian("portal.wsgi:application", "--workers", "2", "--blocking-threads", "16"),
        "Flask + INSERT": _gunicorn("benchmarks._baselines.flask_insert:app"),
        "DRF + ORM + delay": _gunicorn("benchmarks._baselines.drf_delay:application"),
    }
    loads: dict[str, list[Load]] = {name: [] for name in [*servers, REPEATED]}
    for round_number in range(ROUNDS):
        for index, (name, (command, port)) in enumerate(servers.items()):
            requests = _requests(key, numbers, f"{round_number}-{index}")
            with process(*command, port=port):
                _warm_up(port)
                loads[name].append(_load(port, path, requests))
                if name == "portal":
                    _keep_first(requests, int(loads[name][-1].rate * SECONDS * 0.9))
                    loads[REPEATED].append(_load(port, path, requests))
    show(f"Webhook ingest, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s", _rows(loads))
    _check_everything_was_stored()


def _rows(loads: dict[str, list[Load]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("server", "requests/s (median)", "all rounds", "portal / it", "p99 ms (median)", "all rounds", "portal / it")
    ]
    ours = loads["portal"]
    for name, found in loads.items():
        rates, p99s = [load.rate for load in found], [load.p99_ms for load in found]
        faster = median(mine.rate / theirs.rate for mine, theirs in zip(ours, found, strict=True))
        later = median(mine.p99_ms / theirs.p99_ms for mine, theirs in zip(ours, found, strict=True))
        all_rates, all_p99s = (" ".join(f"{value:.0f}" for value in values) for values in (rates, p99s))
        rows.append(
            (name, f"{median(rates):.0f}", all_rates, f"{faster:.2f}", f"{median(p99s):.0f}", all_p99s, f"{later:.2f}")
        )
    return rows


def _granian(target: str, *options: str) -> tuple[list[str], int]:
    port = free_port()
    command = [str(BIN / "granian"), "--interface", "wsgi", "--http", "1", "--no-ws", "--port", str(port)]
    command += ["--log-level", "warning"]
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


def _keep_first(requests: Path, count: int) -> None:
    lines = requests.read_text().splitlines(keepends=True)
    requests.write_text("".join(lines[:count]))


def _warm_up(port: int) -> None:
    """Until all workers are up: they listen long before. What is asked for here is refused by each server."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{WARM_UP_S}s", f"http://127.0.0.1:{port}/"]
    subprocess.run(command, capture_output=True, check=True)


def _load(port: int, path: str, requests: Path) -> Load:
    """What was answered, all of it 2xx. One wrk thread, so that no call is sent twice."""
    script = Path(tempfile.mkstemp(suffix=".lua")[1])
    script.write_text(_LUA % (requests, path))
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{SECONDS}s",
        "--latency",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or " 0 requests" in out:
        raise RuntimeError(out)
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", out), re.search(r"99%\s+([\d.]+)(us|ms|s)\s", out)
    assert rate is not None
    assert p99 is not None
    return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]])


def _check_everything_was_stored() -> None:
    from cpaas.models import Conversation, Message, WebhookEvent

    stored = Message.objects.count()
    assert stored == WebhookEvent.objects.count(), "every call that was taken is a message"
    assert stored == sum(Conversation.objects.values_list("new_count", flat=True)), "and counted as new"
    print(f"{stored} messages stored, each counted once")


if __name__ == "__main__":
    main()
