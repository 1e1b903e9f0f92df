"""The portal runs with what requirements.txt installs: nothing that only tests and lint bring along is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# Every module of ours, the servers' entry points and both brokers' transports, with all else out of reach.
PROGRAM = """
import importlib, importlib.abc, pkgutil, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

hidden = set(sys.argv[1:])
sys.meta_path.insert(0, Hidden())
import django
django.setup()
wanted = ["portal.asgi", "portal.wsgi", "portal.celery", "kombu.transport.redis", "kombu.transport.pyamqp"]
for package in ("portal", "cpaas", "sandbox"):
    for found in pkgutil.walk_packages([package], f"{package}."):
        if ".tests" not in found.name and not found.name.endswith("__main__"):
            wanted.append(found.name)
for name in wanted:
    importlib.import_module(name)
print(len(wanted))
"""


def installed_by_requirements() -> set[str]:
    """The distributions that `pip install -r requirements.txt` brings, by their canonical names."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    todo = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    found: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            needed = map(Requirement, metadata.requires(name) or [])
            todo += [each for each in needed if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def test_every_module_is_imported_with_the_packages_of_requirements_txt_alone(tmp_path: Path) -> None:
    ours = installed_by_requirements()
    modules = metadata.packages_distributions()
    hidden = [module for module, owners in modules.items() if not {canonicalize_name(owner) for owner in owners} & ours]
    assert "pytest" in hidden
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DEBUG": "1",
        "PORTAL_VAR_DIR": str(tmp_path),
        "DATABASE_URL": "postgres://portal@127.0.0.1:9/portal",
        "REDIS_URL": "redis://127.0.0.1:9/0",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *hidden], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout.split()[-1]) > 100
