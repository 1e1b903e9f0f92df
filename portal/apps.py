from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        # The Celery application must exist wherever a task is sent from.
        from portal import celery, checks  # noqa: F401
        from portal.admin import checks as admin_checks  # noqa: F401
        from portal.events import register_renderer
        from portal.residents import register
        from portal.services.session import render_sessions

        register("portal.beat.SchedulerResident")
        register_renderer("session.updated", render_sessions)
