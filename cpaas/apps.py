from django.apps import AppConfig


class CpaasConfig(AppConfig):
    name = "cpaas"
    verbose_name = "Messaging"
    # What this app adds to the project's routes (portal.api.urls).
    public_urls = "cpaas.doors"
    enduser_urls = "cpaas.api.enduser"
    provisioning_urls = "cpaas.api.provisioning"

    def ready(self) -> None:
        from cpaas import wiring
        from portal.residents import register

        wiring.connect()
        register("cpaas.dispatch.Dispatcher")
        register("cpaas.router.QueueRouter")
