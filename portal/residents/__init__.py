"""Residents: asyncio services that live as long as their worker (architecture section 6)."""

from portal.residents.database import in_database
from portal.residents.registry import register
from portal.residents.resident import Resident, ResidentError

__all__ = ["Resident", "ResidentError", "in_database", "register"]
