"""A site as deploy/ describes it: a machine with PostgreSQL, Redis and RabbitMQ, two with the portal, nginx with TLS.

Programs run by the ExecStart of their units, servers by the files of deploy/; addresses, passwords and sizes are those
of the rehearsal. Towns, traffic and ledgers of tests.faults work here as on a stage.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import requests
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from tests.faults.programs import Program
from tests.faults.servers import with_services
from tests.faults.tcp_gate import Gate
from tests.operations.deployed import DEPLOY, command, nginx_configuration
from tests.operations.machines import HERE, NETWORK, Machine, wired
from tests.ports import free_block
from tests.sandbox_process import ROOT, wait_for

PASSWORD = "rehearsal"
PATIENCE_S = 180
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


class Site:
    """`start` brings all up. `url`, `sandbox_port`, `manage`, `rows` and `var_disk` are those of tests.faults.stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.one, self.two, self.edge = (
            Machine(name, number, folder) for name, number in (("db", 2), ("a", 3), ("b", 4), ("edge", 10))
        )
        self.machines = (self.data, self.one, self.two, self.edge)
        self.sandbox_port = free_block()
        self.url = f"https://{self.edge.address}"
        self.var_disk = SimpleNamespace(path=self.one.folder)
        self.environment = self._environment()
        self._services = with_services()

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DJANGO_"))}
        db = self.data.address
        return ours | {
            "DEBUG": "0",
            "SECRET_KEY": "the first long random text of this rehearsal, which nobody uses again",
            "PORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "PORTAL_PUBLIC_URL": self.url,
            "PORTAL_TRUSTED_PROXIES": self.edge.address,
            "PORTAL_VAR_DIR": str(self.one.folder),
            "DATABASE_URL": f"postgres://portal:{PASSWORD}@{db}:5432/portal",
            "REDIS_URL": f"redis://:{PASSWORD}@{db}:6379/0",
            "CELERY_BROKER_URL": f"amqp://portal:{PASSWORD}@{db}:5672/portal",
            "EMAIL_URL": f"smtp://{HERE}:{self.sandbox_port + 25}",
            "MALLOC_ARENA_MAX": "2",
            # The rehearsal's own: a carrier in the house, and quicker look-ups.
            "PORTAL_ALLOW_PRIVATE_URLS": "1",
            "PORTAL_RECHECK_S": "2,4,8,12,20,30,45,60,90,120,180,240",
            "PORTAL_CARRIER_TIMEOUT_S": "10",
            "PORTAL_LOGIN_ATTEMPTS_PER_MINUTE": "1000",
        }

    # --- Servers ----------------------------------------------------------------------------------------------------

    def build_database(self) -> None:
        """A new cluster with the roles of deploy/postgresql: what an empty machine has."""
        folder = self.data.folder / "postgres"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        shutil.chown(folder, "postgres", "postgres")
        program = self._services.postgres_program
        order = [program("initdb"), "-D", folder, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"]
        as_postgres: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
        subprocess.run(order, check=True, capture_output=True, **as_postgres)
        hba = (DEPLOY / "postgresql" / "pg_hba.conf").read_text().replace("10.0.0.0/24", f"{NETWORK}.0/24")
        (folder / "pg_hba.conf").write_text(hba.replace("peer", "trust"))
        for name in ("server.key", "server.crt"):
            shutil.copy(self.folder / {"server.key": "privkey.pem", "server.crt": "fullchain.pem"}[name], folder / name)
            (folder / name).chmod(0o600)
            shutil.chown(folder / name, "postgres", "postgres")
        (folder / "portal.conf").write_text((DEPLOY / "postgresql" / "portal.conf").read_text())
        with open(folder / "postgresql.conf", "a") as main:
            main.write("include 'portal.conf'\n")
        here = {"listen_addresses": self.data.address, "unix_socket_directories": "/tmp", "ssl": "on"}
        here |= {"shared_buffers": "128MB", "archive_mode": "off", "effective_cache_size": "512MB"}
        options = [part for name, value in here.items() for part in ("-c", f"{name}={value}")]
        self.data.install("postgres", [program("postgres"), "-D", str(folder), *options], os.environ, user="postgres")
        self.data.programs["postgres"].start()
        roles = [program("psql"), "-X", "-h", "/tmp", "-U", "postgres", "-v", f"password='{PASSWORD}'", "-q"]
        roles += ["-f", str(DEPLOY / "postgresql" / "roles.sql"), "postgres"]
        wait_for(lambda: self._done(self.data.inside([program("pg_isready"), "-q", "-h", "/tmp"])), what="PostgreSQL")
        subprocess.run(self.data.inside(roles), check=True, capture_output=True)

    @staticmethod
    def _done(order: list[str]) -> bool:
        return subprocess.run(order, check=False, capture_output=True).returncode == 0

    def _start_redis(self) -> None:
        text = (DEPLOY / "redis" / "portal.conf").read_text().replace("10.0.0.10", self.data.address)
        (self.data.folder / "redis.conf").write_text(text.replace("requirepass password", f"requirepass {PASSWORD}"))
        self.data.install("redis", ["redis-server", str(self.data.folder / "redis.conf")], os.environ).start()

    def _start_rabbitmq(self) -> None:
        folder = self.data.folder / "rabbitmq"
        folder.mkdir(mode=0o700)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "vhosts": [{"name": "portal"}],
            "users": [{"name": "portal", "password": PASSWORD, "tags": []}],
            "permissions": [{"user": "portal", "vhost": "portal", **everything}],
        }
        (folder / "definitions.json").write_text(json.dumps(definitions))
        text = (DEPLOY / "rabbitmq" / "portal.conf").read_text().replace("10.0.0.10", self.data.address)
        (folder / "portal.conf").write_text(f"{text}\nload_definitions = {folder}/definitions.json\n")
        environment = os.environ | {
            "HOME": str(folder),
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_CONFIG_FILE": str(folder / "portal.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "flags"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder),
            "RABBITMQ_NODENAME": "portal@localhost",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -start_epmd false +S 1:1",
        }
        self.data.install("epmd", ["epmd"], environment).start()
        self.data.install("rabbitmq", [str(self._services.rabbitmq_program())], environment).start()

    def _start_edge(self) -> None:
        places = {"portal_web": [], "portal_stream": []}  # type: dict[str, list[str]]
        for machine in (self.one, self.two):
            for name, port in WEB.items():
                places["portal_stream" if "stream" in name else "portal_web"].append(f"{machine.address}:{port}")
        for name in ("fullchain.pem", "privkey.pem"):
            shutil.copy(self.folder / name, self.edge.folder / name)
        main = nginx_configuration(
            self.edge.folder,
            web=places["portal_web"],
            stream=places["portal_stream"],
            listen=(80, 443),
            name=self.edge.address,
        )
        self.edge.install("nginx", ["nginx", "-c", str(main)], os.environ).start()

    # --- The portal -------------------------------------------------------------------------------------------------

    def configure(self, **changes: str) -> None:
        """Change portal.env on both machines; what runs reads it when it is started again."""
        self.environment |= changes
        for machine in (self.one, self.two):
            running = dict(machine.programs)
            for name in (*WEB, *WORKERS):
                template, _, instance = name.partition("@")
                unit = f"{template}@.service" if instance else f"{template}.service"
                order = command(unit, instance=instance, bind=machine.address)
                environment = self.environment | {"PORTAL_VAR_DIR": str(machine.folder)}
                if name in running:
                    running[name].reconfigure(environment)
                else:
                    machine.install(name, order, environment)

    def start(self) -> None:
        self.build_database()
        self._start_redis()
        self._start_rabbitmq()
        self._start_edge()
        sandbox = [sys.executable, "-m", "sandbox", "--port", str(self.sandbox_port), "--portal-url", self.url]
        self.sandbox = Program("sandbox", sandbox, os.environ, self.folder / "sandbox.log")
        self.sandbox.start()
        self.manage("migrate", "--verbosity", "0")
        for machine in (self.one, self.two):
            self.manage("collectstatic", "--noinput", "--verbosity", "0", PORTAL_VAR_DIR=str(machine.folder))
        self.configure()
        self.start_portal(self.one)
        self.start_portal(self.two)
        self.wait_until_whole()

    def start_portal(self, machine: Machine) -> None:
        for name in (*WEB, *WORKERS):
            machine.programs[name].start()

    def kill_portal(self, machine: Machine) -> None:
        for name in (*WEB, *WORKERS):
            machine.programs[name].kill()

    def wait_until_whole(self) -> None:
        wait_for(self.is_whole, PATIENCE_S, "the whole site")

    def is_whole(self) -> bool:
        try:
            for machine in (self.one, self.two):
                for port in WEB.values():
                    requests.get(
                        f"http://{machine.address}:{port}/readyz", headers={"Host": "localhost"}, timeout=5
                    ).raise_for_status()
            requests.get(f"{self.url}/healthz", timeout=5).raise_for_status()
        except requests.RequestException:
            return False
        query = "SELECT count(*) FILTER (WHERE name LIKE 'sms-dispatcher:%%') AS dispatchers, "
        query += "count(*) FILTER (WHERE name = 'scheduler') AS schedulers FROM portal_lease WHERE deadline > now()"
        return self.rows(query + " AND holder <> ''")[0] == {"dispatchers": 2, "schedulers": 1}

    def rolling_restart(self, machine: Machine) -> str:
        """deploy/bin/portal-restart on a machine, with this rehearsal for a systemctl."""
        wire_path, shim = machine.folder / "wire", machine.folder / "systemctl"
        wire_path.unlink(missing_ok=True)
        shim.write_text(SHIM.format(python=sys.executable, wire=wire_path))
        shim.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as wire:
            wire.bind(str(wire_path))
            wire.listen()
            wire.settimeout(0.1)
            script = subprocess.Popen(
                machine.inside([str(DEPLOY / "bin" / "portal-restart")]),
                env=os.environ | {"PORTAL_SYSTEMCTL": str(shim), "PORTAL_BIND": machine.address},
                stdout=subprocess.PIPE,
                text=True,
            )
            while script.poll() is None:
                try:
                    caller, _ = wire.accept()
                except TimeoutError:
                    continue
                with caller:
                    caller.sendall(self._systemctl(machine, caller.makefile().read().split()).encode())
        assert script.stdout is not None
        printed = script.stdout.read()
        assert script.returncode == 0, printed
        return printed

    def _systemctl(self, machine: Machine, words: list[str]) -> str:
        if words[0] == "list-units":
            return "".join(f"{name}.service loaded active running\n" for name in WEB)
        for unit in words[1:]:
            program = machine.programs[unit.removesuffix(".service")]
            program.end()
            program.start()
        return ""

    # --- What towns, traffic and ledgers ask ------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def run(self, *order: str, **settings: str) -> str:
        environment = self.environment | {"PORTAL_PYTHON": sys.executable} | settings
        done = subprocess.run(order, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *arguments: str, **settings: str) -> str:
        return self.run(sys.executable, "manage.py", *arguments, **settings)

    def operator_token(self) -> str:
        name = ["--username", "first", "--email", "first@mail.example"]
        printed = self.manage("bootstrap", *name, PORTAL_BOOTSTRAP_PASSWORD="correct horse battery")
        token: str = json.loads(printed)["token"]
        return token


def _certificate(folder: Path, address: str) -> None:
    order = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={address}"]
    order += ["-addext", f"subjectAltName=IP:{address}"]
    order += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(order, check=True, capture_output=True)
    # Everybody here trusts it, as the world would trust a real one.
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        os.environ[name] = str(folder / "fullchain.pem")


@contextmanager
def standing_site() -> Iterator[Site]:
    """A site that stands until the end of the block, then is gone with all it wrote."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-rehearsal-")))
        folder.chmod(0o755)
        _certificate(folder, f"{NETWORK}.10")
        site = Site(folder)
        stack.enter_context(wired(site.machines))
        for offset in (1, 25):
            gate = Gate(("127.0.0.1", site.sandbox_port + offset), HERE)
            gate.port = site.sandbox_port + offset
            stack.enter_context(gate)
        stack.callback(lambda: site.sandbox.kill())
        site.start()
        yield site
