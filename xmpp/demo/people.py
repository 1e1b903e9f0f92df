"""Who of the demo watches whom, what they say of themselves, and the notes on them.

Nobody says *available*: an own status stands also while no client is open, and there is none yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from portal.models import EndUser, PortalAccount
from portal.services.users import update_user
from presence.models import Note, OwnStatus
from presence.services.notes import write_note
from presence.services.own import set_own_status

CHRIS = "chris.doyle@kesslerboyd.example"
DANA = "dana.whitfield@kesslerboyd.example"
MARCUS = "marcus.oyelaran@kesslerboyd.example"
PRIYA = "priya.raman@kesslerboyd.example"
HELEN = "helen.brandt@kesslerboyd.example"
SOFIA = "sofia.lindqvist@marigolddental.example"
GRACE = "grace.imani@marigolddental.example"

_MONITORED = {
    CHRIS: (DANA, MARCUS, PRIYA, HELEN),
    DANA: (CHRIS, HELEN),
    HELEN: (CHRIS, DANA, MARCUS, PRIYA),
    SOFIA: (GRACE,),
    GRACE: (SOFIA,),
}
_STATUSES = {DANA: ("away", "At court until 4 pm"), MARCUS: ("dnd", "Preparing the Alvarado hearing")}
# By the user it is on: who wrote it, and what.
_NOTES = {
    DANA: (HELEN, "Reads e-mail between hearings. For anything urgent call the court clerk."),
    PRIYA: (CHRIS, "Works from Boston on Fridays."),
    GRACE: (SOFIA, "Speaks Spanish: give her the callers who do."),
}


def load_presence(users: Mapping[str, EndUser], staff: PortalAccount) -> None:
    """What somebody has changed or cleared since stays so, but for what went with a user who was deleted."""
    for login, others in _MONITORED.items():
        user = users[login]
        if not user.monitored.exists():
            update_user(actor=staff, user=user, changes={}, monitored=[users[other] for other in others])
    for login, (status, message) in _STATUSES.items():
        if not OwnStatus.objects.filter(pk=users[login].pk).exists():
            set_own_status(user=users[login], status=status, message=message)
    for login, (author, text) in _NOTES.items():
        if not Note.objects.filter(pk=users[login].pk).exists():
            write_note(actor=users[author], user=users[login], text=text)
