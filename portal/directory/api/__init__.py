"""Contacts and directories over REST (contracts section 4, Directories)."""
