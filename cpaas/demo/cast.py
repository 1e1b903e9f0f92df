"""Who is in the demo: tenants, accounts, users and numbers. People and companies are invented.

Every row has a fixed `place`, from which its id is made, so that loading again finds it under whatever name it has
by then.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from portal.ids import first_id_at

# Documented, the same for everybody, and only ever set where the demo was asked for.
PASSWORD = "Welcome-to-the-demo"  # noqa: S105
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def demo_id(place: int) -> uuid.UUID:
    """The id of the demo row at `place`."""
    return first_id_at(_FIRST + timedelta(minutes=place))


@dataclass(frozen=True)
class Number:
    """A number of a user or media stream, the state it is to be in, and for how many days its user has had it."""

    number: str
    friendly_name: str = ""
    opt_in: str = "accepted"
    status: str = "enabled"
    status_detail: str = ""
    note: str = ""
    days: int = 60


@dataclass(frozen=True)
class User:
    place: int
    login: str
    name: str
    licence: str = "desktop"
    extension: str = ""
    mobile: str = ""
    country: str = ""
    time_zone: str = ""
    numbers: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Stream:
    """A media stream with its number; `agents` are places of users."""

    place: int
    name: str
    number: Number
    agents: tuple[int, ...]


@dataclass(frozen=True)
class Account:
    """A portal account; `level` says at which of the rows it stands beside."""

    place: int
    username: str
    name: str
    role: str = "administrator"
    send_alerts: bool = False
    time_zone: str = ""


@dataclass(frozen=True)
class Group:
    place: int
    name: str
    users: tuple[User, ...]
    accounts: tuple[Account, ...] = ()
    streams: tuple[Stream, ...] = ()


@dataclass(frozen=True)
class Reseller:
    place: int
    name: str
    groups: tuple[Group, ...]
    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True)
class Platform:
    place: int
    name: str
    carrier: str = "inteliquent"
    options: dict[str, object] = field(default_factory=dict)
    user_can_block: bool = False


@dataclass(frozen=True)
class Provider:
    place: int
    name: str
    time_zone: str
    default_country: str
    platform: Platform
    resellers: tuple[Reseller, ...]
    accounts: tuple[Account, ...]


OPERATORS = (
    Account(1, "demo-operator", "Robin Ashby"),
    Account(2, "demo-operator-view", "Lee Marsh", role="read_only"),
)

_KESSLER = Group(
    30,
    "Kessler & Boyd Legal",
    accounts=(
        Account(31, "kessler-admin", "Joan Boyd"),
        Account(32, "kessler-view", "Peter Kessler", role="read_only"),
    ),
    users=(
        User(
            40,
            "chris.doyle@kesslerboyd.example",
            "Chris Doyle",
            licence="agent",
            extension="2101",
            mobile="+12125550134",
            numbers=(
                Number("+12012010580", "Chris Cell", note="Printed on the business cards."),
                Number("+12019920781"),
            ),
        ),
        User(
            41,
            "dana.whitfield@kesslerboyd.example",
            "Dana Whitfield",
            extension="2102",
            mobile="+12125550135",
            numbers=(Number("+12019920762", "Dana Desk", opt_in="declined"),),
        ),
        User(
            42,
            "marcus.oyelaran@kesslerboyd.example",
            "Marcus Oyelaran",
            extension="2103",
            mobile="+12125550136",
            numbers=(Number("+12019920763", "Marcus Desk", opt_in="pending", days=4),),
        ),
        User(43, "priya.raman@kesslerboyd.example", "Priya Raman", extension="2104", mobile="+12125550137"),
        User(
            44,
            "helen.brandt@kesslerboyd.example",
            "Helen Brandt",
            licence="supervisor",
            extension="2105",
            mobile="+12125550138",
            numbers=(Number("+12019920764", "Helen Mobile"),),
        ),
    ),
)

_MARIGOLD = Group(
    50,
    "Marigold Dental Group",
    users=(
        User(
            60,
            "sofia.lindqvist@marigolddental.example",
            "Sofia Lindqvist",
            licence="reception",
            extension="3001",
            mobile="+17185550178",
            numbers=(Number("+12019920765", "Front Desk"),),
        ),
        User(
            61,
            "grace.imani@marigolddental.example",
            "Grace Imani",
            licence="agent",
            extension="3002",
            mobile="+17185550179",
        ),
        User(62, "tom.arrowsmith@marigolddental.example", "Tom Arrowsmith", licence="none", extension="3003"),
    ),
    streams=(
        Stream(65, "Appointments", Number("+12019920782", "Appointments", opt_in="not_required"), agents=(60, 61)),
    ),
)

_IRONLEAF = Group(
    70,
    "Ironleaf Logistics",
    users=(
        User(
            80,
            "ben.castellanos@ironleaf.example",
            "Ben Castellanos",
            extension="4001",
            mobile="+16465550112",
            numbers=(Number("+12019920766", "Ben Dispatch", opt_in="postponed"),),
        ),
        User(
            81,
            "yuki.tanabe@ironleaf.example",
            "Yuki Tanabe",
            extension="4002",
            mobile="+16465550113",
            numbers=(
                Number(
                    "+12019920775",
                    "Yuki Yard",
                    opt_in="pending",
                    status="failed",
                    status_detail="Messaging is not switched on for this number at Inteliquent. "
                    "Switch it on there, then retry.",
                    days=1,
                ),
            ),
        ),
    ),
)

_BRIGHTWELL = Group(
    130,
    "Brightwell Travel",
    accounts=(
        Account(131, "brightwell-admin", "Katja Vogel", time_zone="Europe/Berlin"),
        Account(132, "brightwell-view", "Niall Byrne", role="read_only"),
    ),
    users=(
        User(
            140,
            "amelia.hart@brightwell.example",
            "Amelia Hart",
            licence="agent",
            extension="501",
            mobile="+442079460123",
            country="US",
            numbers=(Number("+12019940790", "Amelia US Desk"),),
        ),
        User(
            141,
            "jonas.keller@brightwell.example",
            "Jonas Keller",
            extension="502",
            country="US",
            time_zone="Europe/Berlin",
            numbers=(Number("+12019940791", "Jonas Trips", opt_in="pending", days=3),),
        ),
        User(
            142,
            "ruth.nakamura@brightwell.example",
            "Ruth Nakamura",
            extension="503",
            country="US",
            numbers=(Number("+12019940792", "Ruth Groups"), Number("+12019940793", "After Hours")),
        ),
        User(143, "oscar.finch@brightwell.example", "Oscar Finch", extension="504"),
    ),
)

PROVIDERS = (
    Provider(
        10,
        "Harbourline Communications",
        "America/New_York",
        "US",
        platform=Platform(11, "Inteliquent", user_can_block=True),
        accounts=(
            Account(12, "harbourline-admin", "Maya Torrance", send_alerts=True),
            Account(13, "harbourline-view", "Victor Lind", role="read_only"),
        ),
        resellers=(
            Reseller(
                20,
                "Tidewater Business Systems",
                accounts=(
                    Account(21, "tidewater-admin", "Carla Nunes"),
                    Account(22, "tidewater-view", "Owen Reyes", role="read_only"),
                ),
                groups=(_KESSLER, _MARIGOLD),
            ),
            Reseller(25, "Summit Ridge IT", groups=(_IRONLEAF,)),
        ),
    ),
    Provider(
        110,
        "Alderway Networks",
        "Europe/London",
        "GB",
        platform=Platform(114, "Twilio US", carrier="twilio", options={"allowed_countries": ["DE", "GB", "US"]}),
        accounts=(
            Account(112, "alderway-admin", "Iris Calloway", send_alerts=True),
            Account(113, "alderway-view", "Hugh Pemberton", role="read_only"),
        ),
        resellers=(
            Reseller(
                120,
                "Fenwick Cloud Telephony",
                accounts=(
                    Account(121, "fenwick-admin", "Elsie Fenwick"),
                    Account(122, "fenwick-view", "Ravi Chandra", role="read_only"),
                ),
                groups=(_BRIGHTWELL,),
            ),
        ),
    ),
)
