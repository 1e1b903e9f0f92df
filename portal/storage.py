"""Where files of users are kept: Django's storage API, by default a folder that all machines share or have mounted."""

from __future__ import annotations

import os
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible


@deconstructible(path="portal.storage.DurableStorage")
class DurableStorage(FileSystemStorage):
    """A folder whose files are on the disk when `save` returns, as what a database has committed is."""

    def _save(self, name: str, content: Any) -> str:
        name = super()._save(name, content)  # type: ignore[misc]  # not in the stubs
        path = self.path(name)
        for each in (path, os.path.dirname(path)):
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return name
