from django.apps import AppConfig


class CpaasConfig(AppConfig):
    name = "cpaas"
    verbose_name = "Messaging"

    def ready(self) -> None:
        from cpaas import wiring

        wiring.connect()
