"""Everything messaging shows on the staff site; loaded with the site's URLs."""

from cpaas.admin import charges, evidence, media_streams, numbers, platforms, sections
from portal import extensions

__all__ = ["charges", "evidence", "media_streams", "numbers", "platforms", "sections"]

extensions.page_tabs += [sections.numbers_tab, sections.streams_tab]
extensions.page_sections += [sections.platforms_section, sections.owner_section]
extensions.attention.append(sections.attention)
extensions.landing_sections.append(sections.traffic_section)
