"""A PostgreSQL and a Redis of a stage's own, which survive being killed as the real ones do: same port, same data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import psycopg

from tests.faults.programs import Program, family
from tests.sandbox_process import ROOT, wait_for

# As in production: what is committed is on disk. (Tests elsewhere run with all of this off.)
POSTGRES_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


def with_services() -> ModuleType:
    """The functions of scripts/with-services, which is no module by its name."""
    loader = SourceFileLoader("with_services", str(ROOT / "scripts" / "with-services"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Postgres:
    """`folder` must be reachable for the user PostgreSQL runs as."""

    def __init__(self, folder: Path, port: int) -> None:
        services = with_services()
        user = services.server_user()
        self.port, self.data = port, folder / "postgres"
        self.url = f"postgres://portal@127.0.0.1:{port}/portal"
        template = services.make_template(services.base_folder(user), user)
        subprocess.run(["cp", "-a", str(template), str(self.data)], check=True)
        options = [part for name, value in POSTGRES_OPTIONS.items() for part in ("-c", f"{name}={value}")]
        command = [services.postgres_program("postgres"), "-D", str(self.data), "-p", str(port), *options]
        log = folder / "postgres.log"
        self.program = Program("postgres", command, os.environ, log, cwd="/", **services.as_user(user))

    def start(self) -> None:
        self.program.start()
        self.wait_until_up()

    def wait_until_up(self) -> None:
        wait_for(self.answers, what=f"PostgreSQL\n{self.program.said()}")

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def kill_a_backend(self) -> None:
        """`kill -9` of one session: PostgreSQL then ends all of them and recovers from its log."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            [pid] = connection.execute(f"{query} LIMIT 1").fetchone() or [0]
        assert pid in family(self.program.pids[0])
        os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        self.program.end(signal.SIGINT)


class Redis:
    """Keeps nothing: started again it is empty."""

    def __init__(self, folder: Path, port: int) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed"
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", str(port)]
        self._answers = lambda: with_services().redis_answers(port)
        self.program = Program("redis", [*command, "--dir", str(folder)], os.environ, folder / "redis.log")

    def start(self) -> None:
        self.program.start()
        wait_for(self._answers, what="Redis")
