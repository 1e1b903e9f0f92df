"""Everything presence shows on the staff site; loaded with the site's URLs."""

from portal import extensions
from presence.admin import sections

__all__ = ["sections"]

extensions.page_sections.append(sections.presence_section)
