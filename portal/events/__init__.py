"""Events: the one road for news to end users (architecture section 5)."""

from portal.events.publishing import News, publish
from portal.events.rendering import Rendered, Viewer, Wanted, register_renderer, render
from portal.events.wake import wake

__all__ = ["News", "Rendered", "Viewer", "Wanted", "publish", "register_renderer", "render", "wake"]
