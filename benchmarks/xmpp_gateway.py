"""The SMS gateway against the server's own ceiling for a component, both on the same Prosody in turn: texts that XMPP
users write and that become queued messages, and texts from carriers that reach the users' clients.

Goal (issue 5): at least 0.15 times the raw component loop. The raw loop does nothing but write, 100 in flight and many
at a time; a loop with one in flight stands beside it. Each text from XMPP passes every rule of SMS and is committed:
what that costs in a process that does nothing else (`send_message`, one thread) is in the table too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from benchmarks._setup import ROOT, prepare, process, show
from benchmarks._xmpp import raw_component, server
from tests.prosody import Prosody

USERS = int(os.environ.get("BENCH_USERS", "20"))
TEXTS = int(os.environ.get("BENCH_TEXTS", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def main() -> None:
    prepare()
    with server() as prosody:
        accounts = _world(prosody)
        _stop_other_residents()
        raw, one_by_one, alone, inward, outward = [], [], [], [], []
        bare_in, bare_out = [], []
        for _ in range(ROUNDS):
            raw.append(raw_component(prosody).rate)
            one_by_one.append(raw_component(prosody, in_flight=1).rate)
            bare_in.append(_bare_from_users(prosody, accounts))
            bare_out.append(_bare_to_users(prosody, accounts))
            _forget()
            alone.append(_service_alone())
            _forget()
            with process(sys.executable, "manage.py", "residents"):
                _wait_online()
                inward.append(_from_xmpp(prosody, accounts))
                outward.append(_to_xmpp(prosody, accounts))
        server_us = raw_component(prosody).server_us
    rates = {
        "raw component loop": raw,
        "raw component loop, one in flight": one_by_one,
        "`send_message` alone": alone,
        "bare component, from the users": bare_in,
        "XMPP to queued texts": inward,
        "bare component, to the users": bare_out,
        "received texts to XMPP": outward,
    }
    rows = [("path", "stanzas or texts/s (median)", "all rounds", "of the raw loop", "of one in flight")]
    rows += [_row(name, found, raw, one_by_one) for name, found in rates.items()]
    rows.append(_beside("XMPP to queued texts, of the bare component", inward, bare_in))
    rows.append(_beside("received texts to XMPP, of the bare component", outward, bare_out))
    show(f"SMS gateway, {TEXTS} texts of {USERS} users each way, {ROUNDS} rounds", rows)
    print(f"Prosody uses {server_us:.0f} µs for a stanza of the raw loop")


def _row(name: str, rates: list[float], *others: list[float]) -> tuple[str, ...]:
    ratios = [median(mine / other for mine, other in zip(rates, each, strict=True)) for each in others]
    rounds = " ".join(f"{rate:.0f}" for rate in rates)
    return name, f"{median(rates):.0f}", rounds, *(f"{ratio:.3f}" for ratio in ratios)


def _beside(name: str, mine: list[float], bare: list[float]) -> tuple[str, ...]:
    ratio = median(one / other for one, other in zip(mine, bare, strict=True))
    return name, f"{ratio:.3f}", "", "", ""


def _component(kind: str, prosody: Prosody, *jids: str) -> subprocess.Popen[str]:
    """A bare one, started and online."""
    address = [str(prosody.component_port), prosody.component_domain, prosody.component_secret, str(TEXTS)]
    return _started("xmpp_component", kind, *address, *jids)


def _bare_from_users(prosody: Prosody, accounts: list[str]) -> float:
    component = _component("hear", prosody)
    users = _users("write", prosody, accounts)
    rate = _rate_said(component)
    users.communicate("")
    return rate


def _bare_to_users(prosody: Prosody, accounts: list[str]) -> float:
    component = _component("tell", prosody, *accounts[::2])
    users = _users("hear", prosody, accounts)
    assert component.stdin is not None
    component.stdin.write("\n")
    component.stdin.flush()
    rate = _rate_said(users)
    component.communicate("")
    return rate


def _rate_said(program: subprocess.Popen[str]) -> float:
    """A second, by what the program prints in the end."""
    output, _ = program.communicate("", timeout=600)
    found: dict[str, Any] = json.loads(output)
    return float(found["messages"] / found["seconds"])


def _service_alone() -> float:
    from cpaas.models import CpaasNumber
    from cpaas.services.sending import send_message

    numbers = list(CpaasNumber.objects.select_related("user", "platform__system_provider"))
    began = time.monotonic()
    for n in range(TEXTS // 4):
        number = numbers[n % len(numbers)]
        send_message(user=number.user, number=number, to=f"+1703608{n % 10_000:04d}", text="Hello")
    return TEXTS // 4 / (time.monotonic() - began)


def _world(prosody: Prosody) -> list[str]:
    """Users with a number and an account each; JIDs and passwords in turn."""
    from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
    from portal.tests.factories import EndUserFactory, GroupFactory
    from xmpp.models import ImpAccount, SmsGateway

    # Texts wait: what is measured is the gateway, not a carrier.
    limits = {"per_number_per_minute": 1_000_000, "per_number_per_day": 10_000_000}
    away = dict.fromkeys(("services_url", "broker_url"), "http://127.0.0.1:9/")
    platform = CpaasPlatformFactory(options={**away, **limits})
    group = GroupFactory(reseller__system_provider=platform.system_provider)
    SmsGateway.objects.create(
        system_provider=platform.system_provider,
        domain=prosody.component_domain,
        host=prosody.host,
        port=prosody.component_port,
        secret=prosody.component_secret,
    )
    words = []
    for _ in range(USERS):
        user = EndUserFactory(group=group)
        CpaasNumberFactory(user=user, platform=platform)
        jid, password = prosody.new_account("bench")
        # Without a password of ours, so that the bridge leaves them alone.
        ImpAccount.objects.create(
            user=user, system_provider=user.system_provider, imp_id=jid, assigned=True, enabled=True
        )
        words += [jid, password]
    return words


def _stop_other_residents() -> None:
    """They have nothing to do with it, and the same two cores."""
    from portal.models import Service
    from portal.residents.registry import registered

    others = [resident.name for resident in registered() if not resident.per_tenant]
    Service.objects.bulk_create([Service(name=name, desired="stopped") for name in others])


def _forget() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE cpaas_message, cpaas_conversation, cpaas_attempt, xmpp_texttoxmpp, xmpp_textfromxmpp CASCADE"
        )


def _wait_online() -> None:
    from xmpp.models import GatewayMember, SmsGateway

    deadline = time.monotonic() + 60
    while SmsGateway.objects.get().status != "online" or GatewayMember.objects.count() < USERS:
        assert time.monotonic() < deadline, SmsGateway.objects.get().status_detail
        time.sleep(0.05)


def _users(kind: str, prosody: Prosody, accounts: list[str]) -> subprocess.Popen[str]:
    """Started and online."""
    address = [str(prosody.port), prosody.domain, str(prosody.ca_file), prosody.component_domain, str(TEXTS)]
    return _started("xmpp_users", kind, *address, *accounts)


def _started(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"benchmarks._baselines.{name}", *arguments]
    program = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline().strip() == "online"
    return program


def _from_xmpp(prosody: Prosody, accounts: list[str]) -> float:
    from xmpp.models import TextFromXmpp

    users = _users("write", prosody, accounts)
    rate = _rate(TextFromXmpp.objects.count)
    users.communicate("")
    return rate


def _to_xmpp(prosody: Prosody, accounts: list[str]) -> float:
    """All are received before the gateway may look, so that it is what is measured."""
    from django.db import transaction

    from cpaas.carriers.base import InboundText
    from cpaas.models import CpaasNumber
    from cpaas.services.inbound import receive_text
    from portal import clock
    from portal.events import News

    numbers = list(CpaasNumber.objects.select_related("platform"))
    users = _users("hear", prosody, accounts)
    with transaction.atomic():
        news = News()
        for n in range(TEXTS):
            number = numbers[n % len(numbers)]
            text = InboundText(
                f"sid-{time.monotonic_ns()}-{n}", f"+1703608{n % 500:04d}", (number.number,), "Hello", ()
            )
            receive_text(platform_id=number.platform_id, text=text, news=news, at=clock.now())
        news.write()
    return _rate_said(users)


def _rate(count: Any) -> float:
    """Texts a second between the first tenth and the last."""
    first: tuple[float, int] | None = None
    while (found := count()) < TEXTS:
        if first is None and found > TEXTS // 10:
            first = time.monotonic(), found
        time.sleep(0.02)
    assert first is not None
    return (TEXTS - first[1]) / (time.monotonic() - first[0])


if __name__ == "__main__":
    main()
