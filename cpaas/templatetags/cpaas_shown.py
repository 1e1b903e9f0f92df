"""Words about numbers, for templates."""

from django import template

from cpaas.admin import shown

register = template.Library()
register.simple_tag(shown.opt_in_sentence, name="opt_in_sentence")
