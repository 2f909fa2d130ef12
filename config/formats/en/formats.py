"""How Django prints times and days wherever no template says how: in the staff admin, sortable and in UTC."""

from __future__ import annotations

DATETIME_FORMAT = "Y-m-d H:i\u00a0\\U\\T\\C"  # a narrow column has the day above, the time and UTC below
DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i"
