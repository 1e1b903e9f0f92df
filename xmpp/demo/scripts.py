"""What the users of the demo have written to each other, by who takes part, oldest first."""

from __future__ import annotations

from dataclasses import dataclass

from cpaas.demo.scripts import When, ago, on
from xmpp.demo.people import CHRIS, DANA, GRACE, HELEN, MARCUS, SOFIA

# Of the simulated BroadWorks (sandbox/README.md).
IMP_DOMAIN = "im.sandbox.example"
# Somebody on the XMPP server who is no user of ours.
PAT = f"pat.whelan@{IMP_DOMAIN}"


@dataclass(frozen=True)
class Line:
    """`sender` is a login or a JID, `platforms` what carried it. Nobody but the sender has read what is `unread`."""

    sender: str
    when: When
    text: str
    platforms: tuple[str, ...] = ("own",)
    unread: bool = False


_BOTH, _XMPP = ("own", "xmpp"), ("xmpp",)

CHATS: dict[tuple[str, ...], tuple[Line, ...]] = {
    (CHRIS, HELEN): (
        Line(HELEN, on(13, "09:02"), "Morning! Can you take the Merced call at ten? I am stuck in discovery."),
        Line(CHRIS, on(13, "09:03"), "Sure. Anything I should know?"),
        Line(HELEN, on(13, "09:05"), "He will ask about the filing fee. It is in our second letter."),
        Line(CHRIS, on(1, "17:12"), "Merced has the clean copy. I file as soon as he has signed."),
        Line(HELEN, on(1, "17:14"), "Great work 👏"),
        Line(HELEN, ago(31), "Do you have pages 7 and 12? The partners want to see them.", unread=True),
    ),
    # Dana wrote in UC-One, on her way to the court.
    (CHRIS, DANA): (
        Line(DANA, on(6, "10:41"), "Judge is late, we start at 11.", _XMPP),
        Line(CHRIS, on(6, "10:42"), "Thanks, I will tell Mrs. Alvarado.", _BOTH),
        Line(DANA, on(6, "12:30"), "Done. She kept the house 🎉", _XMPP),
        Line(CHRIS, on(6, "12:31"), "Congratulations to both of you!", _BOTH),
    ),
    # In XMPP only: a court reporter with an account on the same server.
    (CHRIS, PAT): (
        Line(CHRIS, on(9, "14:20"), "Pat, when can we have the transcript of the 14th?", _XMPP),
        Line(PAT, on(9, "14:55"), "Tomorrow noon, certified.", _XMPP),
        Line(PAT, on(8, "11:58"), "It is in your inbox. 84 pages.", _XMPP),
    ),
    (HELEN, MARCUS): (
        Line(MARCUS, on(4, "16:30"), "The bank sent the statements, all of 2024."),
        Line(HELEN, on(4, "16:33"), "Finally. Can you have a summary by Monday?"),
        Line(HELEN, ago(52), "How far is the summary?", unread=True),
    ),
    # A group chat: all of them were online.
    (CHRIS, HELEN, MARCUS): (
        Line(HELEN, on(2, "11:45"), "Lunch at the harbour? The partners are out."),
        Line(CHRIS, on(2, "11:46"), "In. 12:30?"),
        Line(MARCUS, on(2, "11:46"), "I bring the bank's statements, so that we may claim it was work."),
    ),
    (GRACE, SOFIA): (
        Line(SOFIA, on(3, "08:10"), "Two emergencies this morning, I put them into your gaps."),
        Line(GRACE, on(3, "08:11"), "Fine with me. Chair 2 is free again at nine."),
        Line(SOFIA, ago(14), "Somebody asks for parking in the queue, can you take it?", unread=True),
    ),
}
