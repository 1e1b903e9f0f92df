"""What was texted in the demo, by own number and remote party."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import datetime, time, timedelta

RECIPIENT = "The message could not be delivered to the recipient's phone (carrier error 005)."
NETWORK = "The recipient's network rejected the message (carrier error 011)."
DOUBT = "It is not known whether the carrier took this text."


@dataclass(frozen=True)
class When:
    """A moment before the demo was loaded: a clock time some days ago, or some minutes ago."""

    days: int = 0
    clock: str = ""
    minutes: int = 0

    def at(self, now: datetime, zone: str) -> datetime:
        if not self.clock:
            return now - timedelta(minutes=self.minutes)
        local = now.astimezone(zoneinfo.ZoneInfo(zone))
        day = local.date() - timedelta(days=self.days)
        return datetime.combine(day, time.fromisoformat(self.clock), local.tzinfo)


@dataclass(frozen=True)
class Text:
    """One text. `tries` are the earlier attempts of an outbound one that did not get there: (status, code, text).
    `picture` is the name of the picture that came with it."""

    direction: str
    when: When
    text: str
    status: str
    error: tuple[str, str] = ("", "")
    tries: tuple[tuple[str, str, str], ...] = ()
    unread: bool = False
    picture: str = ""


def on(days: int, clock: str) -> When:
    return When(days=days, clock=clock)


def ago(minutes: int) -> When:
    return When(minutes=minutes)


def got(when: When, text: str, status: str = "received", *, unread: bool = False, picture: str = "") -> Text:
    return Text("in", when, text, status, unread=unread, picture=picture)


def sent(
    when: When,
    text: str,
    status: str = "delivered",
    error: tuple[str, str] = ("", ""),
    tries: tuple[tuple[str, str, str], ...] = (),
) -> Text:
    return Text("out", when, text, status, error, tries)


CONVERSATIONS: dict[tuple[str, str], tuple[Text, ...]] = {
    # Chris Cell
    ("+12012010580", "+17036089795"): (
        sent(on(33, "09:41"), "Good morning Mr. Merced, this is Chris Doyle of Kessler & Boyd. Is Thursday 2 pm good?"),
        got(on(33, "09:58"), "Thursday works. Your office or ours?"),
        sent(on(33, "10:02"), "Ours please, 4th floor. Bring the signed lease if you have it."),
        got(on(33, "10:03"), "Will do, thanks"),
        sent(on(12, "16:20"), "The counterparty accepted the new wording. I will send you the clean copy tomorrow."),
        got(on(12, "16:47"), "Great news! Thank you for being so quick 👍"),
        sent(on(1, "17:05"), "Clean copy is with your assistant. Please sign page 7 and 12."),
        got(ago(38), "Signed both. Can you file it today?", unread=True),
        got(ago(36), "Also: who pays the filing fee?", unread=True),
    ),
    ("+12012010580", "+12403219795"): (
        got(on(27, "13:15"), "Hi Chris, Sabeeh here. New number, please save it."),
        sent(on(27, "13:22"), "Saved. Are you coming to the hearing on Monday?"),
        got(on(27, "13:24"), "Yes, with both witnesses."),
        sent(on(24, "08:30"), "Hearing moved to 10:30, court room 3B."),
        got(on(24, "08:31"), "On our way"),
        sent(on(5, "11:10"), "Invoice for May went out by mail today. Call me if anything is unclear."),
    ),
    ("+12012010580", "+12055550140"): (
        sent(
            on(19, "10:12"),
            "Patrick, I need your statement by Friday. Reply here or call my desk.",
            "undelivered",
            ("005", RECIPIENT),
        ),
        sent(
            on(18, "09:05"),
            "Patrick, second try: I need your statement by Friday.",
            tries=(("undelivered", "005", RECIPIENT),),
        ),
        got(on(18, "12:40"), "Sorry, phone was off in the tunnel. Statement comes tonight."),
        sent(on(18, "12:44"), "Perfect, thank you."),
    ),
    ("+12012010580", "+16465550190"): (
        sent(on(2, "18:31"), "Your documents are ready for collection from tomorrow 9 am.", "failed", ("011", NETWORK)),
    ),
    ("+12012010580", "+12125550138"): (
        got(on(6, "08:51"), "Running 10 late, start the call without me"),
        sent(on(6, "08:52"), "No rush, the other side is late too"),
    ),
    # Chris, the number without a name
    ("+12019920781", "+17185550161"): (
        got(on(21, "14:00"), "Is this the law firm on Broad Street? I would like a first meeting about a will."),
        sent(on(21, "14:09"), "Yes, this is Kessler & Boyd. A first meeting takes 30 minutes and is free. Tuesday 11?"),
        got(on(21, "14:15"), "Tuesday 11 is fine. Mrs. Alvarado"),
        sent(on(15, "10:58"), "We are ready for you, third door on the left.", "sent"),
        sent(on(8, "15:30"), "The draft of your will is ready. Shall I mail it?", "unknown", ("", DOUBT)),
    ),
    ("+12019920781", "+16465550143"): (
        got(ago(212), "Good morning, can I still get an appointment this week?", unread=True),
    ),
    # Dana declined: what came in afterwards is kept from her.
    ("+12019920762", "+17185550122"): (
        got(on(3, "10:20"), "Hi Dana, did you get my papers?", "suppressed"),
        got(on(2, "16:02"), "Dana??", "suppressed"),
    ),
    # Marcus was not asked yet: these wait for his answer.
    ("+12019920763", "+17185550123"): (
        got(on(1, "11:42"), "Mr. Oyelaran, the bank needs your confirmation before noon tomorrow.", "held"),
        got(ago(95), "Reminder: the bank closes at 5 pm today.", "held"),
    ),
    ("+12019920763", "+12403219795"): (got(ago(61), "Hi Marcus, Sabeeh here. Chris said to ask you.", "held"),),
    # Helen
    ("+12019920764", "+17185550124"): (
        sent(on(29, "09:00"), "Interview for the paralegal position: Wednesday 9:30. Please confirm with yes."),
        got(on(29, "09:06"), "Yes! Looking forward to it."),
        sent(on(28, "17:45"), "Please bring your certificates, originals only."),
        got(on(28, "17:50"), "Ok"),
        sent(on(25, "14:10"), "Congratulations, the partners said yes. Contract follows by mail. 🎉"),
        got(on(25, "14:11"), "Wonderful, thank you so much!!"),
    ),
    ("+12019920764", "+12125550134"): (
        sent(on(6, "08:51"), "Running 10 late, start the call without me"),
        got(on(6, "08:52"), "No rush, the other side is late too"),
    ),
    # Marigold's front desk
    ("+12019920765", "+16465550151"): (
        sent(on(14, "09:00"), "Marigold Dental: your check-up is tomorrow at 8:40. Reply C to cancel."),
        got(on(14, "09:12"), "C"),
        sent(on(14, "09:20"), "Cancelled. Call us or text here for a new date."),
        got(on(4, "10:33"), "Can I come Friday after 3?"),
        sent(on(4, "10:41"), "Friday 3:20 is yours."),
    ),
    ("+12019920765", "+16465550152"): (
        sent(on(7, "12:00"), "Marigold Dental: your crown has arrived. When can you come in?"),
        got(on(7, "18:26"), "Is Saturday possible?"),
        got(ago(17), "Hello? Saturday?", unread=True),
    ),
    ("+12019920782", "+17185550166"): (
        got(on(9, "08:05"), "I lost a filling, do you have an emergency slot today?"),
        got(ago(24), "Do you take new patients?", unread=True),
    ),
    ("+12019920782", "+16465550157"): (
        got(ago(11), "My son has a fever, can we come next week instead of today?", unread=True),
    ),
    ("+12019920782", "+12125550171"): (got(ago(3), "Is there parking at your practice?", unread=True),),
    # Ben said "ask me later".
    ("+12019920766", "+17185550170"): (got(on(1, "06:55"), "Truck 14 is at gate 2, no papers here", "held"),),
    # Brightwell
    ("+12019940790", "+17185550180"): (
        got(on(40, "15:02"), "Hello, we would like to change the name on booking BW-20417."),
        sent(on(40, "15:20"), "Of course. Please send the name exactly as in the passport."),
        got(on(40, "15:31"), "Zoë Müller-García"),
        sent(on(40, "15:36"), "Changed: Zoë Müller-García. New tickets are in your inbox."),
        sent(on(16, "09:00"), "Your trip starts in 3 days. Check-in opens tomorrow at 18:00."),
        got(on(16, "09:14"), "Thanks Amelia!"),
        got(ago(52), "We are back, it was wonderful. Same hotel next year?", unread=True, picture="sunset.jpg"),
    ),
    ("+12019940790", "+16465550182"): (
        sent(
            on(10, "11:00"),
            "The ferry at 14:00 is cancelled. I booked you on the 16:30.",
            "undelivered",
            ("005", RECIPIENT),
        ),
        sent(on(10, "11:06"), "Ferry 14:00 cancelled, you are on the 16:30. Please reply.", "unknown", ("", DOUBT)),
        got(on(10, "12:19"), "Got both, thanks. No signal on the island."),
    ),
    ("+12019940791", "+17185550184"): (got(ago(130), "Jonas, our bus is late. Please tell the guide.", "held"),),
    ("+12019940792", "+17185550185"): (
        got(on(22, "10:10"), "24 people, two nights in March. Can you quote?"),
        sent(on(22, "11:45"), "Quote is in your inbox. Valid for 14 days."),
        got(on(9, "09:30"), "We take it."),
        sent(on(9, "09:41"), "Confirmed, thank you. Deposit invoice follows."),
    ),
    ("+12019940793", "+17185550186"): (
        got(on(3, "22:48"), "We are locked out of the apartment!"),
        sent(on(3, "22:50"), "The key box is left of the door, code 4417."),
        got(on(3, "22:55"), "You saved our night"),
    ),
}
