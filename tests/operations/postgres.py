"""A PostgreSQL that reads the files of deploy/postgresql, for a test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.servers import with_services
from tests.operations.deployed import DEPLOY

ARCHIVE_PROGRAM = "/usr/local/bin/portal-archive"
# Of this machine, which is smaller.
HERE = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "16MB", "fsync": "off"}


@dataclass(frozen=True)
class Postgres:
    """`archive` and `program` are the folder and the program that archive.conf names."""

    port: int
    folder: Path
    as_user: dict[str, Any]

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def program(self) -> Path:
        return self.folder / "portal-archive"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """As the superuser, and with values put into the text of a statement, as Django does."""
        address = f"host=127.0.0.1 port={self.port} user=portal dbname=portal"
        return psycopg.connect(address, autocommit=True, cursor_factory=psycopg.ClientCursor, **options)

    def run(self, *order: str | Path) -> subprocess.CompletedProcess[str]:
        """As the user PostgreSQL runs as."""
        environment = os.environ | {
            "PORTAL_ARCHIVE": str(self.archive),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "portal",
        }
        return subprocess.run(
            order, cwd="/", env=environment, capture_output=True, text=True, check=False, **self.as_user
        )


@contextmanager
def deployed_postgres(*names: str) -> Iterator[Postgres]:
    """A new cluster with these files of deploy/postgresql, gone at the end."""
    services = with_services()
    user = services.server_user()
    base, as_user = services.base_folder(user), services.as_user(user)
    with tempfile.TemporaryDirectory(prefix="deployed-", dir=base) as made:
        folder = Path(made)
        folder.chmod(0o755)
        data = folder / "data"
        subprocess.run(["cp", "-a", "--reflink=auto", services.make_template(base, user), data], check=True)
        for path in (folder / "archive", folder / "archive/wal", folder / "archive/base"):
            services.make_folder(path, user)
        program = shutil.copy(DEPLOY / "bin" / "portal-archive", folder)
        with open(data / "postgresql.conf", "a") as main:
            for name in names:
                text = (DEPLOY / "postgresql" / name).read_text()
                main.write(text.replace(ARCHIVE_PROGRAM, f"PORTAL_ARCHIVE={folder}/archive {program}"))
            main.writelines(f"{name} = '{value}'\n" for name, value in HERE.items())
        command = [services.postgres_program("postgres"), "-D", str(data), "-p"]
        with services.running(command, services.postgres_answers, folder / "log", signal.SIGQUIT, user) as port:
            yield Postgres(port, folder, as_user)
