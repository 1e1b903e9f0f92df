"""The residents' place in a Celery worker: a step of the worker itself, not of its consumer, so that a lost broker
connection, which restarts the consumer, does not touch them."""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from click import Option

RESIDENTS_OPTION = Option(["--residents"], is_flag=True, default=False, help="Host the residents; take no tasks.")
# Nobody sends to it. A purge or an import in this process would starve the residents' heartbeat.
NO_TASKS_QUEUE = "residents"


class RefuseMisconfiguration(bootsteps.Step):
    """A worker that would not do what is meant does not start.

    Forked children would share the parent's connections and threads (portal.E001); the other checks are those of
    portal.checks that need no database and no page.
    """

    label = "configuration check"

    def include_if(self, parent: Any) -> bool:
        from portal.checks import configuration_errors

        if "prefork" in parent.pool_cls.__module__:
            raise SystemExit("portal.E001: this application does not run in the prefork pool. Use -P threads.")
        errors = configuration_errors()
        if errors:
            raise SystemExit("\n".join(f"{error.id}: {error.msg} {error.hint}" for error in errors))
        return False

    def create(self, parent: Any) -> None:
        """Never included, nothing to make."""


class ResidentsStep(bootsteps.StartStopStep):
    """Hosts the residents when the worker was started with `--residents`."""

    label = "residents"
    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, residents: bool = False, **options: Any) -> None:
        super().__init__(parent, **options)
        self.wanted = residents

    def include_if(self, parent: Any) -> bool:
        return self.wanted

    def create(self, parent: Any) -> Any:
        from portal.residents.host import HostThread

        parent.app.amqp.queues.select([NO_TASKS_QUEUE])
        return HostThread()
