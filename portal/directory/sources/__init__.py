"""Directories that are asked when they are needed: LDAP and SQL servers of a tenant."""

from portal.directory.models import DirectoryKind
from portal.directory.sources.base import Setting, Source, SourceError, Unfit, Where
from portal.directory.sources.ldap import Ldap
from portal.directory.sources.sql import Sql

__all__ = ["SOURCES", "Setting", "Source", "SourceError", "Unfit", "Where"]

SOURCES: dict[str, Source] = {DirectoryKind.LDAP: Ldap(), DirectoryKind.SQL: Sql()}
