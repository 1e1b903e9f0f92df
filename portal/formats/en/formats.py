"""How times are written on pages, in the viewer's zone (R28, S1.47)."""

DATE_FORMAT = SHORT_DATE_FORMAT = "d/m/Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "d/m/Y H:i:s"
