"""Links that open one upload for a few minutes, whoever follows them. Source: PROTOCOLS.md 2.11.

`ft` = b64url(HMAC-SHA256(key, "{path}:{expiry}")) + "." + expiry, in seconds since the epoch.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
import time
from dataclasses import dataclass
from urllib.parse import urlencode

from django.utils.crypto import constant_time_compare, salted_hmac

from realtime.core.errors import RoleTooLow

LIFE_S = 300
_SALT = "sessions_app.media_links"
_EXPIRY = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Link:
    """A signed path and the moment (UTC) from which it opens nothing any more."""

    path: str
    ft: str
    expires_at: dt.datetime

    @property
    def url(self) -> str:
        return f"/v1/files/{self.path}?{urlencode({'ft': self.ft})}"


def sign(path: str) -> Link:
    """A link to `path` that lives for LIFE_S seconds from now."""
    expiry = int(time.time()) + LIFE_S
    moment = dt.datetime.fromtimestamp(expiry, dt.UTC)
    return Link(path, f"{_signature(path, str(expiry))}.{expiry}", moment)


def check(path: str, ft: str) -> None:
    """Raise RoleTooLow unless `ft` was signed for this very path and has not expired."""
    signature, _, expiry = ft.rpartition(".")
    genuine = constant_time_compare(signature, _signature(path, expiry))
    if not genuine or not _EXPIRY.fullmatch(expiry) or int(expiry) <= time.time():
        raise RoleTooLow("permission denied: the link is not valid or has expired")


def _signature(path: str, expiry: str) -> str:
    digest = salted_hmac(_SALT, f"{path}:{expiry}", algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
