"""The files of deploy/ are accepted by the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.operations.deployed import DEPLOY, INSTANCES, command, nginx_configuration
from tests.sandbox_process import ROOT

# What operations.md has an operator enable: the units of a machine, by name.
ENABLED = sorted(
    set(re.findall(r"^systemctl enable --now (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
)
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin") or "nginx"


def run(*arguments: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, arguments)), env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def self_signed(folder: Path) -> None:
    order = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=portal.test"]
    run("openssl", *order, "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem")


def test_nginx_takes_the_site(tmp_path: Path) -> None:
    self_signed(tmp_path)
    servers = {"web": ["127.0.0.1:8101"], "stream": ["127.0.0.1:8111"]}
    main = nginx_configuration(tmp_path, **servers, listen=(20080, 20443), name="portal.test")
    assert "test is successful" in run(NGINX, "-t", "-c", main)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "systemd", tmp_path, dirs_exist_ok=True)
    for path in [*tmp_path.glob("*.service"), *tmp_path.glob("*/*.conf")]:
        # Programs and users of this machine; all else as it is.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/sleep", path.read_text(), flags=re.MULTILINE)
        text = (
            text.replace("=/opt/portal", "=/")
            .replace("User=portal", "User=daemon")
            .replace("Group=portal", "Group=daemon")
        )
        path.write_text(text)
    units = [path for path in tmp_path.glob("*.service") if "@" not in path.name]
    units += [shutil.copy(tmp_path / name, tmp_path / name.replace("@", "@1")) for name in INSTANCES]
    said = run("systemd-analyze", "verify", tmp_path / "portal.target", *units, SYSTEMD_UNIT_PATH=f"{tmp_path}:")
    assert said == ""


@pytest.mark.parametrize("order", ENABLED)
def test_what_the_documents_enable_starts_with_the_machine(order: str, tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(DEPLOY / "systemd", units)
    run("systemctl", f"--root={tmp_path}", "enable", *order.split())
    wanted = {unit if unit.endswith(".target") else f"{unit}.service" for unit in order.split()}
    assert {path.name for path in units.glob("*.wants/*")} == wanted
    assert {path.name for path in units.glob("portal.target.wants/*")} == wanted - {"portal.target"}
    assert (units / "multi-user.target.wants" / "portal.target").is_symlink()


def test_the_documents_enable_every_unit() -> None:
    enabled = {re.sub(r"@\d+$", "@", unit) for order in ENABLED for unit in order.split()}
    units = [path for path in (DEPLOY / "systemd").iterdir() if path.is_file()]
    assert enabled == {path.name.removesuffix(".service") for path in units}


def test_the_programs_of_the_units_are_installed() -> None:
    for path in (DEPLOY / "systemd").glob("*.service"):
        assert Path(command(path.name, instance="1", bind="127.0.0.1")[0]).exists()


def test_the_environment_file_names_only_what_is_read() -> None:
    known = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "portal.env").read_text(), re.MULTILINE))
    assert used - known == set()
