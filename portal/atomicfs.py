"""A Celery broker in a folder, for one host without any server: kombu's file-system transport made safe.

The stock transport opens a file under its final name and then writes, so a reader can meet half a message and the
worker dies of it (kombu issue 1551). Here every file is written aside and renamed, and taken by a rename.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem, virtual
from kombu.utils.encoding import bytes_to_str, str_to_bytes
from kombu.utils.json import dumps, loads


def transport_options(folder: Path) -> dict[str, Any]:
    """Options of a broker in `folder`, whose folders are made here. New messages are seen within 0.1 s."""
    messages, control = folder / "messages", folder / "control"
    messages.mkdir(parents=True, exist_ok=True)
    control.mkdir(exist_ok=True)
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": 0.1,
    }


class Channel(filesystem.Channel):
    """Message files are `<time>_<id>.<queue>.msg`; names that start with a dot are not complete or already taken."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]
        # Wall-clock time, unlike the stock monotonic one, keeps the order over a reboot.
        name = f"{time.time_ns():020}_{uuid.uuid4().hex}.{queue}.msg"
        _write(Path(self.data_folder_out) / name, payload)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        folder = self.data_folder_in
        for name in sorted(os.listdir(folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = os.path.join(folder, f".{name}.taken")
            try:
                os.rename(os.path.join(folder, name), taken)
            except FileNotFoundError:
                continue  # another worker was faster
            payload = Path(taken).read_bytes()
            os.unlink(taken)
            return loads(bytes_to_str(payload))
        raise Empty

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None) -> None:
        file = self.control_folder / f"{exchange}.exchange"
        entry = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with _locked(file.with_suffix(".lock")):
            table = self.get_table(exchange)
            if entry not in table:
                _write(file, [entry, *table])


class Transport(filesystem.Transport):
    Channel = Channel
    driver_type = driver_name = "atomicfs"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        # What is declared stands in the folder. The stock process-wide memory of it would skip a second folder.
        self.state = virtual.BrokerState()


def _write(file: Path, content: Any) -> None:
    aside = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    aside.write_bytes(str_to_bytes(dumps(content)))
    aside.rename(file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
