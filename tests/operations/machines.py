"""Machines on one wire: network namespaces on a bridge, each with an address, programs, and a cable to pull."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.programs import Program

NETWORK = "10.77.0"
HERE = f"{NETWORK}.1"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Machine:
    """A namespace. Its clock and disks are ours; its network and its programs are its own."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.folder = folder / name
        self.folder.mkdir(mode=0o755)
        self.programs: dict[str, Program] = {}
        self._namespace, self._cable = f"pp{os.getpid()}{name}", f"pp{os.getpid() % 100000}{name}"

    def plug_in(self, bridge: str) -> None:
        ip("netns", "add", self._namespace)
        ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        ip("link", "set", self._cable, "master", bridge, "up")
        for words in ("addr add {0}/24 dev eth0", "link set eth0 up", "link set lo up"):
            ip("-n", self._namespace, *words.format(self.address).split())

    def scrap(self) -> None:
        for program in self.programs.values():
            program.kill()
        subprocess.run(["ip", "netns", "del", self._namespace], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._cable], check=False, capture_output=True)

    def pull_the_cable(self) -> None:
        ip("link", "set", self._cable, "down")

    def plug_the_cable(self) -> None:
        ip("link", "set", self._cable, "up")

    def inside(self, command: Sequence[str], user: str = "") -> list[str]:
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return ["ip", "netns", "exec", self._namespace, *as_user, *command]

    def install(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, user: str = "", **popen: Any
    ) -> Program:
        """A program of this machine; `start` it when it is due. Installed again it is the same one, and has the new
        command and environment from its next start on."""
        log, order = self.folder / f"{name}.log", self.inside(command, user)
        if name in self.programs:
            self.programs[name].reconfigure(order, environment)
        else:
            self.programs[name] = Program(name, order, environment, log, **popen)
        return self.programs[name]

    def lose_power(self) -> None:
        for program in self.programs.values():
            program.kill()


@contextmanager
def wired(machines: Sequence[Machine]) -> Iterator[None]:
    """The machines on one bridge, on which this machine is `HERE`; all is gone at the end. Needs root."""
    bridge = f"pp{os.getpid()}"
    ip("link", "add", bridge, "type", "bridge")
    try:
        ip("addr", "add", f"{HERE}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for machine in machines:
            machine.plug_in(bridge)
        yield
    finally:
        for machine in machines:
            machine.scrap()
        ip("link", "del", bridge)
