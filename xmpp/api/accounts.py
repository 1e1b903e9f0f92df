"""End-user routes of the XMPP account: its status, and *Change Password* (contracts section 6, S0.13-S0.17)."""

from __future__ import annotations

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import UserView
from portal.api.fields import Boolean, Choice, Text, Time
from portal.api.strict import StrictSerializer
from portal.problems import not_found
from xmpp.api.objects import xmpp_object
from xmpp.services import passwords
from xmpp.services.accounts import account_of
from xmpp.states import AccountStatus, PasswordState


class XmppShape(StrictSerializer):
    jid = Text()
    status = Choice(choices=AccountStatus.choices)
    reason = Text()
    password_managed = Boolean(help_text="Passwords are generated; the menu item Change password is absent.")
    password_state = Choice(choices=PasswordState.choices)
    last_message_received_at = Time(allow_null=True)


class PasswordSerializer(StrictSerializer):
    password = Text(trim_whitespace=False, max_length=1000, write_only=True)
    retype = Text(trim_whitespace=False, max_length=1000, write_only=True)


class Xmpp(UserView):
    """The caller's XMPP account; 404 while Integrated IM&P is not assigned and enabled (S0.5)."""

    answers = {"GET": {200: XmppShape}}
    problems = {"GET": (404,)}

    def get(self, request: Request) -> Response:
        account = account_of(self.user)
        if account is None or not account.is_on:
            raise not_found("XMPP")
        return Response(xmpp_object(account, self.user))


class XmppPassword(UserView):
    """Changes the password here and at BroadWorks.

    400 `mismatch`, `too_short`, `same_as_login`; 409 `password_managed`, `change_in_progress`; 502
    `broadworks_refused`, `broadworks_unreachable`: nothing was changed.
    """

    bodies = {"POST": PasswordSerializer}
    answers = {"POST": {200: XmppShape}}
    problems = {"POST": (404, 409, 429, 502)}

    def post(self, request: Request) -> Response:
        body = self.read_body(PasswordSerializer)
        changed = passwords.change_own_password(user=self.user, password=body["password"], retype=body["retype"])
        return Response(xmpp_object(changed, self.user))


urlpatterns = [
    path("xmpp/", Xmpp.as_view()),
    path("xmpp/password/", XmppPassword.as_view()),
]
