from presence.models.notes import Note
from presence.models.own import OwnStatus, SignOfLife

__all__ = ["Note", "OwnStatus", "SignOfLife"]
