"""Who is writing, on event streams: `im.chat_state`. A stream is told what is different from what it was told last
(portal.events.live)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from portal.events import LiveNews, Viewer
from portal.events.live import LiveState
from xmpp.services.chat_states import Writer, writers_to
from xmpp.states import ChatStateName


class LiveChatStates:
    """What a stream was told: whoever was writing to its user."""

    def listening(self, user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        return {writer.viewer_id for writer in writers_to(user_ids)}

    def news(self, wanted: Sequence[tuple[Viewer, LiveState]]) -> list[LiveNews]:
        writing: dict[uuid.UUID, dict[Writer, bool]] = defaultdict(dict)
        for writer in writers_to({viewer.pk for viewer, _ in wanted}):
            writing[writer.viewer_id][writer] = True
        return [_news(told, writing.get(viewer.pk, {})) for viewer, told in wanted]


def _news(told: LiveState, writing: LiveState) -> LiveNews:
    found = LiveNews(writing)
    found.events += [_event(writer, ChatStateName.COMPOSING) for writer in writing if writer not in told]
    found.events += [_event(writer, ChatStateName.ACTIVE) for writer in told if writer not in writing]
    return found


def _event(writer: Writer, state: ChatStateName) -> tuple[str, dict[str, Any]]:
    user = str(writer.user_id) if writer.user_id else None
    place = {"conversation": str(writer.conversation_id), "user": user, "jid": writer.jid or None}
    return "im.chat_state", {**place, "state": state.value}
