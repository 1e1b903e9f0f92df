"""Everything messaging shows on the staff site; loaded with the site's URLs."""

from cpaas.admin import (
    charges,
    dead_letters,
    evidence,
    imports,
    media_streams,
    message_log,
    numbers,
    platforms,
    sections,
    tickets,
)
from portal import extensions

__all__ = [
    "charges",
    "dead_letters",
    "evidence",
    "imports",
    "media_streams",
    "message_log",
    "numbers",
    "platforms",
    "sections",
    "tickets",
]

extensions.page_tabs += [sections.numbers_tab, sections.streams_tab, sections.messages_tab]
extensions.page_sections += [sections.platforms_section, sections.owner_section]
extensions.attention += [sections.attention, sections.set_aside]
extensions.landing_sections.append(sections.traffic_section)
