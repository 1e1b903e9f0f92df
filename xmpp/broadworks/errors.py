"""How talking to BroadWorks fails."""

from __future__ import annotations


class BroadworksError(Exception):
    """`detail` is a sentence for a person, `code` BroadWorks' own number or our word. Neither holds a secret."""

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


class Refused(BroadworksError):
    """BroadWorks said no for certain (ErrorResponse), or may not be asked at all."""


class Unreachable(BroadworksError):
    """The command surely was not carried out: it never left."""


class Doubtful(BroadworksError):
    """The command went out and no usable answer came: it may or may not have been carried out."""
