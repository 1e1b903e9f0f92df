"""Notes on users: written by anybody of the organisation, seen by all of it in real time (S3.6, S3.7, R5)."""

from __future__ import annotations

from django.db import transaction

from portal import clock
from portal.models import EndUser
from portal.problems import invalid
from portal.services import audit
from portal.xml_text import require_legal
from presence.models import Note
from presence.services.telling import tell_presence_changed

LONGEST_NOTE = 500


def write_note(*, actor: EndUser, user: EndUser, text: str) -> Note:
    """Put `text` on `user`, whom the caller knows to be of the actor's organisation; "" takes the note off.

    The audit row says that it happened, not what was written: it stays when the note is long gone. The same text again
    changes nothing. Raises Problem `invalid`, `illegal_characters` (400).
    """
    text = text.strip()
    if len(text) > LONGEST_NOTE:
        raise invalid(text=f"A note has at most {LONGEST_NOTE} characters.")
    require_legal(text, "text")
    with transaction.atomic():
        EndUser.objects.select_for_update(no_key=True).get(pk=user.pk)
        note = Note.objects.filter(pk=user.pk).first() or Note(user=user, at=clock.now())
        if note.text == text:
            return note
        action = "delete_note" if not text else "change_note" if note.text else "write_note"
        note.text, note.author, note.author_name, note.at = text, actor, actor.name, clock.now()
        note.save()
        audit.record(actor, action, user)
        tell_presence_changed([user.pk])
    return note
