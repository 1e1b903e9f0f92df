"""A private Debian ejabberd that reads deploy/ejabberd, with addresses of this machine put in. Use it as `Prosody`."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.certificates import Authority
from tests.faults.programs import Program
from tests.faults.servers import with_services
from tests.ports import free_port
from tests.sandbox_process import ROOT, wait_for

DOMAIN = "im.example.com"
COMPONENT_SECRET = "a-long-random-secret"
# Accounts are made through ejabberd's administration over HTTP, which an installation need not have.
ADMINISTRATION = """
  - port: {port}
    ip: 127.0.0.1
    module: ejabberd_http
    request_handlers:
      /api: mod_http_api
"""
RIGHTS = """
api_permissions:
  tests:
    who: {ip: 127.0.0.1/32}
    what: "*"
"""


class Ejabberd:
    """Started at once; also a context manager. Erlang runs without a node name, so that it needs no name server."""

    def __init__(self) -> None:
        self.domain, self.host, self.component_domain = DOMAIN, "127.0.0.1", f"sms.{DOMAIN}"
        self.port, self.component_port, self._admin_port = free_port(), free_port(), free_port()
        self.component_secret = COMPONENT_SECRET
        self.authority = Authority()
        services = with_services()
        user = services.server_user()
        self.folder = Path(tempfile.mkdtemp(prefix="ejabberd-", dir=services.base_folder(user)))
        self.folder.chmod(0o755)
        self.ca_file = self.folder / "ca.crt"
        self.ca_file.write_text(self.authority.pem)
        (self.folder / "server.pem").write_text("".join(self.authority.issue(self.domain, self.component_domain)))
        (self.folder / "ejabberd.yml").write_text(self._configuration())
        (self.folder / "data").mkdir()
        found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
        erlang = shutil.which("erl")
        if not found or erlang is None:
            raise RuntimeError("ejabberd is not installed: apt-get install ejabberd")
        command = [erlang, "-noinput", "-pa", str(found[-1]), "-mnesia", "dir", f'"{self.folder}/data"']
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "data"),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_CRASH_DUMP": "/dev/null",
        }
        command += ["-s", "ejabberd"]
        output = self.folder / "output.log"
        self.program = Program("ejabberd", command, environment, output, cwd="/", **services.as_user(user))
        if user is not None:
            for path in [self.folder, *self.folder.iterdir()]:
                os.chown(path, user.pw_uid, user.pw_gid)
        self.start()

    def _configuration(self) -> str:
        text = (ROOT / "deploy" / "ejabberd" / "ejabberd.yml").read_text()
        text = text.replace("/etc/ejabberd/ejabberd.pem", str(self.folder / "server.pem"))
        text = text.replace("port: 5347", f"port: {self.component_port}")
        text = text.replace("port: 5222", f"port: {self.port}").replace('ip: "::"', "ip: 127.0.0.1")
        text = re.sub(r"^listen:\n", f"listen:{ADMINISTRATION.format(port=self._admin_port)}", text, flags=re.MULTILINE)
        return text.replace("\nmodules:\n", f"{RIGHTS}\nmodules:\n  mod_http_api: {{}}\n  mod_admin_extra: {{}}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def log(self) -> str:
        path = self.folder / "ejabberd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mechanisms(self, jid: str) -> list[str]:
        """The SASL mechanism of each attempt of a JID to log in, also of failed ones."""
        return re.findall(rf"(?:Accepted|Failed) c2s (\S+) authentication for {re.escape(jid)}", self.log)

    def start(self) -> None:
        self.program.start()
        services = with_services()
        for port in (self.port, self.component_port, self._admin_port):
            wait_for(partial(services.listens, port), what=f"ejabberd\n{self.program.said()}")

    def restart(self) -> None:
        self.program.end()
        self.start()

    def close(self) -> None:
        self.program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_account(self, jid: str, password: str) -> None:
        user, host = jid.split("@")
        self._order("register", user=user, host=host, password=password)

    def set_password(self, jid: str, password: str) -> None:
        """As an administrator: unlike Prosody, ejabberd leaves the account's sessions alone."""
        user, host = jid.split("@")
        self._order("change_password", user=user, host=host, newpass=password)

    def new_account(self, name: str = "user") -> tuple[str, str]:
        """JID and password of an account that no other test has."""
        jid, password = f"{name}-{secrets.token_hex(4)}@{self.domain}", secrets.token_urlsafe(18)
        self.add_account(jid, password)
        return jid, password

    def _order(self, command: str, **arguments: str) -> None:
        answer = requests.post(f"http://127.0.0.1:{self._admin_port}/api/{command}", json=arguments, timeout=30)
        assert answer.ok, answer.text
