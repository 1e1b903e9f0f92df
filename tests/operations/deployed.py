"""What deploy/ tells an operator to install, with the places of this machine put in."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from tests.sandbox_process import ROOT

DEPLOY = ROOT / "deploy"
INSTANCES = {"portal-web@.service": "12", "portal-stream@.service": "1"}


def unit(name: str, deploy: Path = DEPLOY) -> str:
    return (deploy / "systemd" / name).read_text()


def command(name: str, *, instance: str = "", bind: str, deploy: Path = DEPLOY) -> list[str]:
    """The ExecStart of a unit, run by this Python."""
    found = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", unit(name, deploy), re.MULTILINE)
    assert found
    line = found[1].replace("\\\n", " ").replace("%%", "%%%").replace("%i", instance).replace("%%%", "%")
    program, *arguments = shlex.split(line.replace("${PORTAL_BIND}", bind))
    return [str(Path(sys.executable).parent / Path(program).name), *arguments]


def nginx_configuration(folder: Path, *, web: list[str], stream: list[str], listen: tuple[int, int], name: str) -> Path:
    """nginx's main file in `folder` around deploy/nginx/portal.conf; `listen` are the ports for http and https."""
    site = (DEPLOY / "nginx" / "portal.conf").read_text()
    for upstream, servers in (("portal_web", web), ("portal_stream", stream)):
        block = re.compile(rf"(upstream {upstream} {{\n)    server \S+( .*;\n)(?:    server .*\n)*")
        found = block.search(site)
        assert found
        lines = "".join(f"    server {server}{found[2]}" for server in servers)
        site = block.sub(lambda whole, lines=lines: whole[1] + lines, site)
    site = site.replace("/etc/portal/tls", str(folder)).replace("/var/log/nginx", str(folder))
    site = re.sub(r"(listen (\[::\]:)?)80;", rf"\g<1>{listen[0]};", site)
    site = re.sub(r"(listen (\[::\]:)?)443 ", rf"\g<1>{listen[1]} ", site).replace("portal.example.com", name)
    (folder / "portal.conf").write_text(site)
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off;\nuser root;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n{temporary}    include {folder}/portal.conf;\n}}\n"
    )
    return main
