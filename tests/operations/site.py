"""A site as deploy/ describes it: a machine with PostgreSQL, Redis and RabbitMQ, two with the portal, nginx with TLS. A
third machine for the portal is on the wire, with nothing on it.

Programs run by the ExecStart of their units, servers by the files of deploy/; addresses, passwords and sizes are those
of the rehearsal. Towns, traffic and ledgers of tests.faults work here as on a stage.
"""

from __future__ import annotations

import json
import os
import shutil
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
from tests.operations.deployed import DEPLOY, nginx_configuration
from tests.operations.machines import HERE, NETWORK, Machine, wired
from tests.operations.portal_machine import WEB, PortalMachine
from tests.ports import free_block
from tests.sandbox_process import wait_for

PASSWORD = "rehearsal"
PATIENCE_S = 180


class Site:
    """`start` brings all up. `url`, `sandbox_port`, `manage`, `rows` and `var_disk` are those of tests.faults.stage."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder, self.version = folder, version
        self.data, self.edge = Machine("db", 2, folder), Machine("edge", 10, folder)
        self.one, self.two, self.third = (
            PortalMachine(name, number, folder) for name, number in (("a", 3), ("b", 4), ("c", 5))
        )
        # Those that serve.
        self.portals = [self.one, self.two]
        self.machines = (self.data, self.one, self.two, self.third, self.edge)
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
            "SECRET_KEY": "the first long random text of this rehearsal which nobody uses again",
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
        here = {"listen_addresses": self.data.address, "unix_socket_directories": str(folder), "ssl": "on"}
        here |= {"shared_buffers": "128MB", "effective_cache_size": "512MB"}
        options = [part for name, value in here.items() for part in ("-c", f"{name}={value}")]
        self.data.install("postgres", [program("postgres"), "-D", str(folder), *options], os.environ, user="postgres")
        self.data.programs["postgres"].start()
        roles = [program("psql"), "-Xq", "-h", str(folder), "-U", "postgres"]
        roles += ["-f", str(DEPLOY / "postgresql" / "roles.sql"), "postgres"]
        ready = self.data.inside([program("pg_isready"), "-q", "-h", str(folder)])
        wait_for(lambda: self._done(ready), what="PostgreSQL")
        environment = os.environ | {"PORTAL_DATABASE_PASSWORD": PASSWORD}
        subprocess.run(self.data.inside(roles), check=True, capture_output=True, env=environment)

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
        for name in ("fullchain.pem", "privkey.pem"):
            shutil.copy(self.folder / name, self.edge.folder / name)
        self.edge.install("nginx", ["nginx", "-c", str(self._upstreams())], os.environ).start()

    def reload_edge(self) -> None:
        """nginx with the machines that serve now: `nginx -t && systemctl reload nginx`."""
        main = str(self._upstreams())
        for order in (["nginx", "-c", main, "-t"], ["nginx", "-c", main, "-s", "reload"]):
            subprocess.run(self.edge.inside(order), check=True, capture_output=True)

    def _upstreams(self) -> Path:
        """The files of nginx, which name the ports of each machine that serves."""
        places = {"portal_web": [], "portal_stream": []}  # type: dict[str, list[str]]
        for machine in self.portals:
            for name, port in WEB.items():
                places["portal_stream" if "stream" in name else "portal_web"].append(f"{machine.address}:{port}")
        return nginx_configuration(
            self.edge.folder,
            web=places["portal_web"],
            stream=places["portal_stream"],
            listen=(80, 443),
            name=self.edge.address,
        )

    # --- The portal -------------------------------------------------------------------------------------------------

    def configure(self, **changes: str) -> None:
        """Change portal.env on the machines that serve; what runs reads it when it is started again."""
        self.environment |= changes
        for machine in self.portals:
            machine.install_units(self.environment)

    def start(self) -> None:
        self.build_database()
        self._start_redis()
        self._start_rabbitmq()
        self._start_edge()
        sandbox = [sys.executable, "-m", "sandbox", "--port", str(self.sandbox_port), "--portal-url", self.url]
        self.sandbox = Program("sandbox", sandbox, os.environ, self.folder / "sandbox.log")
        self.sandbox.start()
        for machine in self.portals:
            machine.check_out(self.version)
        self.manage("migrate", "--verbosity", "0")
        for machine in self.portals:
            self.install(machine)
            machine.start_portal()
        self.wait_until_whole()

    def install(self, machine: PortalMachine) -> None:
        """What is left to do on a machine where the portal lies: static files, units and their environment."""
        static = ("collectstatic", "--noinput", "--verbosity", "0")
        self.manage(*static, code=machine.code, PORTAL_VAR_DIR=str(machine.folder))
        machine.install_units(self.environment)

    def wait_until_whole(self) -> None:
        wait_for(self.is_whole, PATIENCE_S, "the whole site")

    def is_whole(self) -> bool:
        try:
            requests.get(f"{self.url}/healthz", timeout=5).raise_for_status()
        except requests.RequestException:
            return False
        query = "SELECT count(*) FILTER (WHERE name LIKE 'sms-dispatcher:%%') AS dispatchers, "
        query += "count(*) FILTER (WHERE name = 'scheduler') AS schedulers FROM portal_lease WHERE deadline > now()"
        leases = {"dispatchers": len(self.portals), "schedulers": 1}
        return all(each.is_ready() for each in self.portals) and self.rows(query + " AND holder <> ''")[0] == leases

    # --- What towns, traffic and ledgers ask ------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def run(self, *order: str, code: Path | None = None, **settings: str) -> str:
        """An order in the folder of the portal: that of the first machine if no other is meant."""
        environment = self.environment | {"PORTAL_PYTHON": sys.executable} | settings
        done = subprocess.run(
            order, cwd=code or self.one.code, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *arguments: str, code: Path | None = None, **settings: str) -> str:
        return self.run(sys.executable, "manage.py", *arguments, code=code, **settings)

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
def standing_site(version: str) -> Iterator[Site]:
    """A site with this commit of the portal that stands until the end of the block, then is gone with all it wrote."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-rehearsal-")))
        folder.chmod(0o755)
        _certificate(folder, f"{NETWORK}.10")
        site = Site(folder, version)
        stack.enter_context(wired(site.machines))
        for offset in (1, 25):
            gate = Gate(("127.0.0.1", site.sandbox_port + offset), HERE)
            gate.port = site.sandbox_port + offset
            stack.enter_context(gate)
        stack.callback(lambda: site.sandbox.kill())
        site.start()
        yield site
