"""The journeys of the people who use the portal, against a running stack: browser for staff, REST for users."""
