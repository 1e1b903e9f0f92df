from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        # The Celery application must exist wherever a task is sent from.
        from portal import celery, checks  # noqa: F401
        from portal.residents import register

        register("portal.beat.SchedulerResident")
