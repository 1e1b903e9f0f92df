"""Events: the one road for news to end users (architecture section 5)."""

from portal.events.live import LiveNews, register_live_source
from portal.events.publishing import News, publish
from portal.events.rendering import Rendered, Viewer, Wanted, register_renderer, render
from portal.events.wake import wake, wake_live

__all__ = [
    "LiveNews",
    "News",
    "Rendered",
    "Viewer",
    "Wanted",
    "publish",
    "register_live_source",
    "register_renderer",
    "render",
    "wake",
    "wake_live",
]
