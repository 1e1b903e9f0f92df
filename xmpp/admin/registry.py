"""Everything IM and XMPP show on the staff site; loaded with the site's URLs."""

from portal import extensions
from xmpp.admin import accounts, broadworks, connections, gateways, imp

__all__ = ["accounts", "broadworks", "connections", "gateways", "imp"]

extensions.page_sections += [broadworks.broadworks_section, imp.imp_section]
extensions.attention.append(broadworks.attention)
