from django.apps import AppConfig


class XmppConfig(AppConfig):
    name = "xmpp"
    verbose_name = "IM and XMPP"
    # What this app adds to the project's routes (portal.api.urls).
    enduser_urls = "xmpp.api.enduser"
    provisioning_urls = "xmpp.api.provisioning"

    def ready(self) -> None:
        from portal.residents import register
        from xmpp import wiring

        wiring.connect()
        register("xmpp.bridge.Bridge")
        register("xmpp.gateway.SmsGatewayResident")
