"""KEYFARE_SECURITY_BUDGET=full (`make test-security`) runs the long tests in full; else they run a share of it."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("KEYFARE_SECURITY_BUDGET") == "full"
