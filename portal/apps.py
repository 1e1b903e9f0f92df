from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        # The Celery application must exist wherever a task is sent from.
        from portal import celery, checks, lookups  # noqa: F401
        from portal.admin import checks as admin_checks  # noqa: F401
        from portal.events import register_renderer
        from portal.middleware import note_login
        from portal.residents import register
        from portal.services.session import render_sessions

        user_logged_in.connect(note_login, dispatch_uid="session began")
        register("portal.beat.SchedulerResident")
        register_renderer("session.updated", render_sessions)
