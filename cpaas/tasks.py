"""Tasks of messaging. Each looks at rows that are due and calls a service; losing or doubling one is harmless."""

from __future__ import annotations

from celery import shared_task

from cpaas.services import (
    discarding,
    drift_rounds,
    held,
    hooks,
    import_work,
    media,
    number_work,
    placing,
    reconciling,
    retention,
    traffic,
)
from cpaas.services.platforms import test_every_platform


@shared_task(name="cpaas.tasks.work_numbers")
def work_numbers() -> None:
    """Set and remove hooks of numbers that are due (S4.31, S4.40), and those of platforms with a new key."""
    number_work.work_due_numbers()
    hooks.set_due_hooks()


@shared_task(name="cpaas.tasks.deliver_held")
def deliver_held() -> None:
    """Deliver held texts that nobody looked at again (R8)."""
    held.deliver_overlooked()


@shared_task(name="cpaas.tasks.fetch_media")
def fetch_media() -> None:
    """Fetch the files of inbound messages that are due."""
    media.fetch_due_media()


@shared_task(name="cpaas.tasks.discard_files")
def discard_files() -> None:
    """Take away what nobody used, and the files of what is gone (R18)."""
    discarding.discard_abandoned()
    discarding.discard_gone()


@shared_task(name="cpaas.tasks.purge")
def purge() -> None:
    """The daily retention purge (S1.21)."""
    retention.purge()


@shared_task(name="cpaas.tasks.check_platforms")
def check_platforms() -> None:
    """See which carrier accounts can be used."""
    test_every_platform()


@shared_task(name="cpaas.tasks.check_numbers")
def check_numbers() -> None:
    """Every night, compare every number with its carrier (R44)."""
    drift_rounds.begin_rounds()
    drift_rounds.work_due_rounds()


@shared_task(name="cpaas.tasks.compare_numbers")
def compare_numbers() -> None:
    """Go on with comparisons that were asked for by hand, or whose worker was killed."""
    drift_rounds.work_due_rounds()


@shared_task(name="cpaas.tasks.fetch_missed")
def fetch_missed() -> None:
    """Take in the inbound texts that carriers never told us of (R37)."""
    reconciling.fetch_missed()


@shared_task(name="cpaas.tasks.count_traffic")
def count_traffic() -> None:
    """Keep the traffic of the last two hours up to date."""
    traffic.count_recent()


@shared_task(name="cpaas.tasks.recount_traffic")
def recount_traffic() -> None:
    """Count again what late receipts may have changed, and what was missed."""
    traffic.count_unsettled()


@shared_task(name="cpaas.tasks.place_messages")
def place_messages() -> None:
    """Place texts that an older release stored, so that each level's log has them."""
    placing.place_messages()


@shared_task(name="cpaas.tasks.work_imports")
def work_imports() -> None:
    """Work off the lines of bulk imports, and what a killed worker left of them."""
    import_work.work_due_imports()
