from django.apps import AppConfig


class XmppConfig(AppConfig):
    name = "xmpp"
    verbose_name = "IM and XMPP"
