"""Who acts in an embedded ledger, where nobody signs in."""

from __future__ import annotations

import uuid

DEFAULT_TENANT = 1
"""The tenant of an embedded ledger."""

SYSTEM_ID = uuid.UUID(int=1)
"""The product itself: rescue, triggers, schedules."""

OWNER_ID = uuid.UUID(int=2)
"""Whoever uses the embedded ledger."""
