"""What a line of a bulk import asks for, as the number it would become."""

from __future__ import annotations

from cpaas.models import CpaasNumber, CpaasPlatform, NumberImportLine
from cpaas.services import numbers
from cpaas.services.platforms import platforms_for
from portal.models import EndUser, PortalAccount
from portal.problems import Problem
from portal.scoping import parse_id, require_writer


def draft_of(line: NumberImportLine, account: PortalAccount | None) -> CpaasNumber:
    """The number that a line asks for. Raises Problem as `draft_number` does, and `not_found` for a strange login."""
    require_writer(account)
    users = EndUser.objects.visible_to(account).select_related("system_provider", "reseller", "group")
    user = users.filter(login__lower=line.login.lower()).first()
    if user is None:
        raise Problem("not_found", f"There is no user {line.login}, or you may not see them.", status=404)
    return numbers.draft_number(
        number=line.number,
        user=user,
        platform=_platform(line.platform, user),
        friendly_name=line.friendly_name,
        mms=line.mms,
        can_block=line.can_block,
    )


def _platform(name: str, user: EndUser) -> CpaasPlatform | None:
    """By its name or id; None when the line names none."""
    if not name:
        return None
    known = platforms_for(user.system_provider_id)
    key = parse_id(name)
    found = list(known.filter(pk=key) if key else known.filter(name=name))[:2]
    if len(found) != 1:
        what = "There is no CPaaS platform" if not found else "There are several CPaaS platforms called"
        raise Problem("not_found", f"{what} {name}.", status=404)
    return found[0]
