from django.apps import AppConfig


class PresenceConfig(AppConfig):
    name = "presence"
    verbose_name = "Presence"
    enduser_urls = "presence.api.enduser"

    def ready(self) -> None:
        from presence import wiring

        wiring.connect()
