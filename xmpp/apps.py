from django.apps import AppConfig


class XmppConfig(AppConfig):
    name = "xmpp"
    verbose_name = "IM and XMPP"

    def ready(self) -> None:
        from portal.residents import register

        register("xmpp.bridge.Bridge")
