"""A machine of a site with the portal on it: its clone of this repository, its units, and portal-restart."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import requests

from tests.operations.deployed import command
from tests.operations.machines import Machine
from tests.sandbox_process import ROOT

WEB = {"portal-web@1": "8101", "portal-web@2": "8102", "portal-stream@1": "8111"}
WORKERS = ("portal-tasks", "portal-residents")
SHIM = """#!{python}
import socket, sys
with socket.socket(socket.AF_UNIX) as wire:
    wire.connect("{wire}")
    wire.sendall((" ".join(sys.argv[1:]) + "\\n").encode())
    wire.shutdown(socket.SHUT_WR)
    print(wire.makefile().read(), end="")
"""


def git(*order: str | Path) -> str:
    return subprocess.run(["git", *order], check=True, capture_output=True, text=True).stdout.strip()


class PortalMachine(Machine):
    """`code` is its /opt/portal, its folder /var/lib/portal. It runs what is committed, with the packages of
    this Python."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        super().__init__(name, number, folder)
        self.code = self.folder / "portal"

    def check_out(self, version: str) -> None:
        """In place, as `git checkout` in /opt/portal does; what runs goes on with what it has loaded."""
        if not self.code.exists():
            git("clone", "--quiet", "--shared", "--no-checkout", ROOT, self.code)
        git("-C", self.code, "checkout", "--quiet", "--detach", version)

    def check_out_beside(self, version: str) -> Path:
        """A second work tree, for `migrate`: nothing changes under the processes that run."""
        beside = self.folder / "portal-next"
        git("-C", self.code, "worktree", "add", "--quiet", "--detach", beside, version)
        return beside

    def remove_beside(self, beside: Path) -> None:
        git("-C", self.code, "worktree", "remove", "--force", beside)

    def install_units(self, environment: Mapping[str, str]) -> None:
        """The units of its version; what runs is by them when it is started again."""
        for name in (*WEB, *WORKERS):
            template, _, instance = name.partition("@")
            unit = f"{template}@.service" if instance else f"{template}.service"
            order = command(unit, instance=instance, bind=self.address, deploy=self.code / "deploy")
            self.install(name, order, {**environment, "PORTAL_VAR_DIR": str(self.folder)}, cwd=self.code)

    def start_portal(self) -> None:
        for name in (*WEB, *WORKERS):
            self.programs[name].start()

    def kill_portal(self) -> None:
        for name in (*WEB, *WORKERS):
            self.programs[name].kill()

    def is_ready(self) -> bool:
        try:
            for port in WEB.values():
                url = f"http://{self.address}:{port}/readyz"
                requests.get(url, headers={"Host": "localhost"}, timeout=5).raise_for_status()
        except requests.RequestException:
            return False
        return True

    def spooled(self) -> list[Path]:
        """Webhooks that wait for the database."""
        return list(self.folder.glob("spool/*.call"))

    def rolling_restart(self) -> str:
        """deploy/bin/portal-restart of its version, with this rehearsal for a systemctl."""
        wire_path, shim = self.folder / "wire", self.folder / "systemctl"
        wire_path.unlink(missing_ok=True)
        shim.write_text(SHIM.format(python=sys.executable, wire=wire_path))
        shim.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as wire:
            wire.bind(str(wire_path))
            wire.listen()
            wire.settimeout(0.1)
            script = subprocess.Popen(
                self.inside([str(self.code / "deploy" / "bin" / "portal-restart")]),
                env=os.environ | {"PORTAL_SYSTEMCTL": str(shim), "PORTAL_BIND": self.address},
                stdout=subprocess.PIPE,
                text=True,
            )
            while script.poll() is None:
                try:
                    caller, _ = wire.accept()
                except TimeoutError:
                    continue
                with caller:
                    caller.sendall(self._systemctl(caller.makefile().read().split()).encode())
        assert script.stdout is not None
        printed: str = script.stdout.read()
        assert script.returncode == 0, printed
        return printed

    def _systemctl(self, words: list[str]) -> str:
        if words[0] == "list-units":
            listed = [f"{name}.service" for name in (*WEB, *WORKERS) if self.programs[name].running]
            patterns = words[1:]
            return "".join(
                f"{unit} loaded active running\n" for unit in listed if any(fnmatch(unit, each) for each in patterns)
            )
        for unit in words[1:]:
            program = self.programs[unit.removesuffix(".service")]
            program.end()
            program.start()
        return ""
