"""Words about numbers, for templates."""

from django import template

from cpaas.admin import shown
from cpaas.carriers.registry import CARRIER_LABELS
from portal.phone_numbers import national_digits

register = template.Library()
register.simple_tag(shown.opt_in_sentence, name="opt_in_sentence")
register.filter("national", national_digits)


@register.filter
def carrier_label(code: str) -> str:
    """What a carrier is called; of one that is no more, its code."""
    return CARRIER_LABELS.get(code, code)
