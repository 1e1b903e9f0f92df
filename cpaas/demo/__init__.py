"""The demo data: two invented tenants in which something is going on (contracts, section 1, `loaddemo`)."""
