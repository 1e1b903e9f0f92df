"""End-user routes of XMPP presence subscriptions (contracts section 6, R31)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import UserView
from portal.api.fields import Choice, Text
from portal.api.idempotency import idempotent
from portal.api.strict import ListQuery, StrictSerializer
from portal.clock import iso
from portal.models import EndUser
from portal.problems import not_found
from portal.scoping import TenantQuerySet, get_visible
from xmpp.api.shapes import SubscriptionShape
from xmpp.models import ImpAccount, Subscription
from xmpp.services import subscriptions
from xmpp.stanzas import LONGEST_JID
from xmpp.states import Direction, SubscriptionState


class SubscriptionQuery(ListQuery):
    direction = Choice(choices=Direction.values, required=False)
    state = Choice(choices=SubscriptionState.values, required=False, help_text="Left out: all but removed.")


class SubscriptionSerializer(StrictSerializer):
    user = Text(required=False, allow_null=True, allow_blank=True, max_length=100, help_text="Id of a colleague.")
    jid = Text(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_JID, help_text="Or a JID.")


def subscription_objects(rows: Iterable[Subscription]) -> list[dict[str, Any]]:
    """Subscriptions as their user sees them; they come with their peers."""
    return [
        {
            "id": str(row.pk),
            "user": str(row.peer_id) if row.peer_id else None,
            "jid": row.jid,
            "name": str(row.peer) if row.peer else row.jid,
            "direction": row.direction,
            "state": row.state,
            "automatic": row.automatic,
            "at": iso(row.at),
            "may_retry_at": iso(row.may_retry_at),
        }
        for row in rows
    ]


class _XmppView(UserView):
    """Nothing of it is there while the user has no Integrated IM&P (S0.5)."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not ImpAccount.objects.filter(pk=self.user.pk, assigned=True, enabled=True).exists():
            raise not_found("XMPP")

    def visible(self) -> TenantQuerySet[Subscription]:
        return subscriptions_of(self.user)

    def show(self, row: Subscription, status: int = 200) -> Response:
        found = get_visible(Subscription.objects.select_related("peer"), self.user, row.pk)
        return Response(subscription_objects([found])[0], status=status)


def subscriptions_of(user: EndUser) -> TenantQuerySet[Subscription]:
    return Subscription.objects.visible_to(user).select_related("peer")


class Subscriptions(_XmppView):
    """Whose XMPP presence the user watches, and who watches or asks to watch the user's (S0.25-S0.31)."""

    serializer_class = SubscriptionSerializer
    query_classes = {"GET": SubscriptionQuery}
    answers = {"POST": {200: SubscriptionShape, 201: SubscriptionShape}}
    problems = {"GET": (404,)}
    order = ("-id",)

    def get(self, request: Request) -> Response:
        rows = self.visible()
        filters = {name: self.query[name] for name in ("direction", "state") if name in self.query}
        rows = rows.filter(**filters) if "state" in filters else rows.filter(**filters).exclude(state="removed")
        page = self.page_of(rows, self.order)
        return Response(page.answer(subscription_objects(page.rows)))

    @idempotent()
    def post(self, request: Request) -> Response:
        """Ask to watch somebody; one that is open already is answered with 200."""
        body = self.read_body()
        row, is_asked = subscriptions.subscribe(
            user=self.user, peer_id=body.get("user") or "", jid=body.get("jid") or ""
        )
        return self.show(row, 201 if is_asked else 200)


class SubscriptionItem(_XmppView):
    answers = {"GET": {200: SubscriptionShape}, "DELETE": {204: None}}

    def get(self, request: Request, pk: str) -> Response:
        """One subscription."""
        return self.show(get_visible(self.visible(), self.user, pk))

    def delete(self, request: Request, pk: str) -> Response:
        """Stop watching, or let the peer watch no more. Auto-subscribe does not bring it back."""
        subscriptions.remove_subscription(user=self.user, subscription=get_visible(self.visible(), self.user, pk))
        return Response(status=204)


class _Answer(_XmppView, ABC):
    """The user's answer to a request."""

    answers = {"POST": {200: SubscriptionShape}}
    bodies = {"POST": None}

    @abstractmethod
    def answer(self, row: Subscription) -> None:
        """Done by the subscription's service."""

    def post(self, request: Request, pk: str) -> Response:
        row = get_visible(self.visible(), self.user, pk)
        self.read_body(StrictSerializer)
        self.answer(row)
        return self.show(row)


class Accept(_Answer):
    """Lets the peer see the user's presence (S0.31)."""

    def answer(self, row: Subscription) -> None:
        subscriptions.accept_request(user=self.user, subscription=row)


class Reject(_Answer):
    """Does not let the peer see the user's presence; for 24 hours nobody is asked again (R31)."""

    def answer(self, row: Subscription) -> None:
        subscriptions.reject_request(user=self.user, subscription=row)


urlpatterns = [
    path("xmpp/subscriptions/", Subscriptions.as_view()),
    path("xmpp/subscriptions/<str:pk>/", SubscriptionItem.as_view()),
    path("xmpp/subscriptions/<str:pk>/accept/", Accept.as_view()),
    path("xmpp/subscriptions/<str:pk>/reject/", Reject.as_view()),
]
