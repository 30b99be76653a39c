"""The one clock that decides what is due, expired or lapsed: the database's."""

from __future__ import annotations

import datetime as dt

from django.db.models.functions import Now

from accounts.models import Account


def now() -> dt.datetime:
    """The database's time, aware; processes with skewed clocks agree on it."""
    # A query needs a row to stand on; `migrate` makes the first account.
    moment: dt.datetime = Account.objects.order_by().values_list(Now(), flat=True)[0]
    return moment
