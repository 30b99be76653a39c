"""Where a pairing stands, and time that goes by for it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone

from accounts.models import Pairing
from accounts.services import pairing
from realtime.core.principal import ANONYMOUS

SECOND = dt.timedelta(seconds=1)


def state(sender_id: str) -> str:
    return str(pairing.status(principal=ANONYMOUS, sender_id=sender_id)["status"])


def run_out(**when: Any) -> None:
    Pairing.objects.update(**{name: timezone.now() - value for name, value in when.items()})
