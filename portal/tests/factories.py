"""Rows for tests of every app: tenants, accounts, users and their tokens. Passwords are `PASSWORD` everywhere."""

from __future__ import annotations

import itertools
from datetime import timedelta

import factory
from django.contrib.auth.hashers import make_password
from django.utils import timezone
from factory.django import DjangoModelFactory

from portal.models import Device, EndUser, Group, PortalAccount, Reseller, StaffToken, SystemProvider, UserSettings
from portal.services.tokens import DEVICE_PREFIX, STAFF_PREFIX, digest_of

PASSWORD = "correct horse battery"
_plain = itertools.count(1)


class SystemProviderFactory(DjangoModelFactory):
    class Meta:
        model = SystemProvider

    name = factory.Sequence(lambda n: f"Provider {n}")


class ResellerFactory(DjangoModelFactory):
    class Meta:
        model = Reseller

    system_provider = factory.SubFactory(SystemProviderFactory)
    name = factory.Sequence(lambda n: f"Reseller {n}")


class GroupFactory(DjangoModelFactory):
    class Meta:
        model = Group

    reseller = factory.SubFactory(ResellerFactory)
    name = factory.Sequence(lambda n: f"Group {n}")


class EndUserFactory(DjangoModelFactory):
    """A licensed user with settings and the password `PASSWORD`."""

    class Meta:
        model = EndUser
        skip_postgeneration_save = True

    group = factory.SubFactory(GroupFactory)
    login = factory.Sequence(lambda n: f"user{n}@example.com")
    name = factory.Sequence(lambda n: f"User {n}")
    password = factory.LazyFunction(lambda: make_password(PASSWORD))

    @factory.post_generation
    def settings(self, create: bool, extracted: dict | None, **kwargs: object) -> None:
        if create:
            UserSettings.objects.create(user=self, **(extracted or {}))


class PortalAccountFactory(DjangoModelFactory):
    """An account of `level` for the row `scope` (none for an operator); the levels above follow from it."""

    class Meta:
        model = PortalAccount

    class Params:
        scope = None

    username = factory.Sequence(lambda n: f"staff{n}")
    email = factory.LazyAttribute(lambda account: f"{account.username}@example.com")
    level = factory.LazyAttribute(lambda account: _level_of(account.scope))
    password = factory.LazyFunction(lambda: make_password(PASSWORD))
    group = factory.LazyAttribute(lambda account: account.scope if isinstance(account.scope, Group) else None)
    reseller = factory.LazyAttribute(
        lambda account: (
            account.scope if isinstance(account.scope, Reseller) else getattr(account.scope, "reseller", None)
        )
    )
    system_provider = factory.LazyAttribute(
        lambda account: (
            account.scope
            if isinstance(account.scope, SystemProvider)
            else getattr(account.scope, "system_provider", None)
        )
    )


def _level_of(scope: SystemProvider | Reseller | Group | None) -> str:
    names = {SystemProvider: "system_provider", Reseller: "reseller", Group: "group"}
    return "operator" if scope is None else names[type(scope)]


def staff_token(account: PortalAccount, *, days: float = 365) -> str:
    """A new API token of the account, in plain."""
    plain = f"{STAFF_PREFIX}test-{next(_plain)}-{account.pk}"
    StaffToken.objects.create(
        account=account, name="test", digest=digest_of(plain), expires_at=timezone.now() + timedelta(days=days)
    )
    return plain


def device_token(user: EndUser, *, name: str = "desktop", days: float = 90) -> str:
    """A new device of the user, its token in plain."""
    plain = f"{DEVICE_PREFIX}test-{next(_plain)}-{user.pk}"
    Device.objects.create(
        user=user, name=name, digest=digest_of(plain), expires_at=timezone.now() + timedelta(days=days)
    )
    return plain
