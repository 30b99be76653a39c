"""Passes: what a page has proved over HTTP opens its socket of 002. PROTOCOLS.md 3.2.

A browser gives a WebSocket no header. A pass goes into the cookie that 002 reads, where no script
sees it, and is good for a minute; what ends the credential behind it ends the socket, too.
"""

from __future__ import annotations

from dataclasses import asdict

from django.core import signing

from accounts.services import tickets
from realtime.core.credentials import SessionTicket
from realtime.core.errors import BadCredentials
from realtime.core.principal import Principal

LIFETIME_S = 60
_SALT = "trunkline.session-pass"


def issue(*, principal: Principal) -> str:
    """A pass for somebody who has just proved to be `principal`."""
    return signing.dumps({**asdict(principal), "scopes": sorted(principal.scopes)}, salt=_SALT)


def at_session(*, credential: SessionTicket) -> Principal:
    """Who comes with a pass, or with what `tickets` takes. Raises BadCredentials."""
    principal = _shown(credential.token)
    if principal is None:
        return tickets.at_session(credential=credential)
    if credential.works:
        raise BadCredentials("a pass is for who watches")
    if credential.organization not in ("", principal.account, principal.account_id):
        raise BadCredentials(tickets.NOT_OF)
    return principal


def _shown(text: str) -> Principal | None:
    try:
        told = signing.loads(text, salt=_SALT, max_age=LIFETIME_S)
    except signing.BadSignature:
        return None
    sets = {"scopes": frozenset(told["scopes"]), "handles": tuple(told["handles"])}
    return Principal(**{**told, **sets})
