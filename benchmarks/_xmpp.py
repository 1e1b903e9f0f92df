"""What the XMPP benchmarks share: a Prosody whose archive costs nothing, and baselines as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from benchmarks._setup import ROOT
from tests.prosody import Prosody

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """`rate` in messages a second; CPU of the measuring process and of the server in microseconds a message."""

    rate: float
    client_us: float
    server_us: float


def server() -> Prosody:
    """With the archive in memory: files would be all that is measured (facts of the tests' Prosody)."""
    return Prosody(archive="memory")


def raw_clients(prosody: Prosody, *, clients: int = 100, messages: int = 30_000) -> Measured:
    """The server's ceiling from client to client."""
    accounts = [word for _ in range(clients) for word in prosody.new_account("raw")]
    address = [str(prosody.port), prosody.domain, str(prosody.ca_file)]
    return baseline(prosody, "xmpp_raw", "clients", *address, str(messages), *accounts)


def raw_component(prosody: Prosody, *, in_flight: int = 100) -> Measured:
    """The server's ceiling for a component that writes to itself."""
    address = [str(prosody.component_port), prosody.component_domain, prosody.component_secret]
    messages = 30_000 if in_flight > 1 else 5_000
    return baseline(prosody, "xmpp_raw", "component", *address, str(messages), str(in_flight))


def bare_slixmpp(prosody: Prosody, *, messages: int = 5_000) -> Measured:
    """Two clients of the library without anything of ours."""
    accounts = [word for _ in range(2) for word in prosody.new_account("bare")]
    return baseline(prosody, "xmpp_slixmpp", str(prosody.port), str(prosody.ca_file), str(messages), *accounts)


def baseline(prosody: Prosody, module: str, *arguments: str) -> Measured:
    before = cpu_s(prosody)
    command = [sys.executable, "-m", f"benchmarks._baselines.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    found = json.loads(done.stdout)
    count = found["messages"]
    # Logins are in it: a few per cent with as many messages as there are.
    server_us = (cpu_s(prosody) - before) / count * 1e6
    return Measured(count / found["seconds"], found["cpu_s"] / count * 1e6, server_us)


def cpu_s(prosody: Prosody) -> float:
    """What the server has used so far."""
    [pid] = prosody.program.pids[:1]
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
