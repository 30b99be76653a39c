"""How a REST caller shows who they are; the answer is `request.auth`, a Principal."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from accounts.models import User
from accounts.services import credentials, devices, tickets
from accounts.services.pairing_words import check_user_id
from realtime.core.credentials import SessionTicket
from realtime.core.errors import BadCredentials, MissingCredentials, OriginRefused
from realtime.core.handshake import Handshake
from realtime.core.principal import Principal


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer` with the gateway token, an API key or an access token.

    `X-GoClaw-User-Id` says for whom the holder of the gateway token acts (PROTOCOLS.md 2.11).
    """

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise BadCredentials("Authorization takes: Bearer <token>")
        claimed = _claimed_id(request)
        return AnonymousUser(), credentials.bearer(token=token.strip(), user_id=claimed)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class DeviceAuthentication(BaseAuthentication):
    """`X-GoClaw-Sender-Id` of a paired browser: all the proof that it has (PROTOCOLS.md 2.11).

    `X-GoClaw-User-Id` is heard only where the pairing has bound no user id yet.
    """

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        sender_id = request.headers.get("X-GoClaw-Sender-Id", "")
        if not sender_id:
            return None
        claimed = _claimed_id(request)
        check_user_id(claimed)
        principal = devices.recognise(sender_id, claimed_id=claimed)
        if principal is None:
            raise BadCredentials("the sender id is not paired")
        return AnonymousUser(), principal


class SessionKeyAuthentication(BearerAuthentication):
    """As a socket of 002 shows it: a bearer or the cookie `sessionKey`, and an organization that
    it must be of (PROTOCOLS.md 3.1, 3.2).

    A browser sends its cookie for any page: what changes something needs an allowed Origin.
    """

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        proved = super().authenticate(request) or self._by_cookie(request)
        asked = request.query_params.get("organization_uuid", "")
        wanted = asked or request.headers.get("x-organization-uuid", "")
        if proved is None or wanted in ("", proved[1].account, proved[1].account_id):
            return proved
        shown = request.headers.get("Authorization", "").partition(" ")[2].strip()
        ticket = SessionTicket(shown or request.COOKIES["sessionKey"], organization=wanted)
        return AnonymousUser(), tickets.at_session(credential=ticket)

    def _by_cookie(self, request: Request) -> tuple[Any, Principal] | None:
        token = request.COOKIES.get("sessionKey", "")
        if not token:
            return None
        sent = {"host": request.get_host()}
        if "Origin" in request.headers:
            sent["origin"] = request.headers["Origin"]
        page = Handshake(path=request.path, headers=sent, secure=request.is_secure())
        changes = request.method not in ("GET", "HEAD", "OPTIONS")
        if not page.origin_allowed(settings.ALLOWED_ORIGINS, cookies_used=changes):
            raise OriginRefused("a cookie needs an allowed Origin")
        return AnonymousUser(), tickets.at_session(credential=SessionTicket(token))


class StaffSessionAuthentication(SessionAuthentication):
    """The admin's own session, with CSRF."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        user = getattr(request._request, "user", None)
        if not isinstance(user, User) or not user.is_active or not user.is_staff:
            return None
        self.enforce_csrf(request)
        return user, credentials.of_user(user=user)


def _claimed_id(request: Request) -> str:
    """`X-GoClaw-User-Id`, in UTF-8 as clients send it; Django reads headers as Latin-1."""
    given: str = request.headers.get("X-GoClaw-User-Id", "")
    try:
        return given.encode("latin-1").decode()
    except UnicodeError:
        return given


def principal_of(request: Request | HttpRequest) -> Principal:
    """Who asks, of a REST or an admin request. Raises MissingCredentials."""
    proved = getattr(request, "auth", None)
    if isinstance(proved, Principal):
        return proved
    user = getattr(request, "user", None)
    if isinstance(user, User):
        return credentials.of_user(user=user)
    raise MissingCredentials
