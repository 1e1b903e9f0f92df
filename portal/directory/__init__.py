"""Everybody a user may know by name, from all directories at once (S1.31–S1.35, S1.40).

`models` is what is stored: contacts in address books. `services` writes them, merges them with the people of the
organisation and finds names for numbers; `sources` asks LDAP and SQL servers; `api` and `admin` are the faces.
"""
