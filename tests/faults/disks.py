"""Small disks that can be full: a tmpfs of so many MB, mounted by root or with sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """A file system of its own at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Not a byte is left."""
        with open(self._ballast, "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"\0" * size):
                        continue
                except OSError:
                    continue

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def mounted(path: Path, megabytes: int) -> Iterator[Disk]:
    path.mkdir(parents=True)
    _as_root("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _as_root("umount", "--lazy", str(path))


def unmount_leftovers(base: Path) -> None:
    """Disks of runs that were killed: their folders are called after process ids that are gone.

    Another test process may just be doing the same.
    """
    for folder in base.glob("*-*"):
        if not Path(f"/proc/{folder.name.split('-')[-1]}").exists():
            for mount in folder.glob("*"):
                if os.path.ismount(mount):
                    _as_root("umount", "--lazy", str(mount), check=False)
            shutil.rmtree(folder, ignore_errors=True)


def _as_root(*command: str, check: bool = True) -> None:
    subprocess.run([*([] if os.geteuid() == 0 else ["sudo"]), *command], check=check)
