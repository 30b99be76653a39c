"""Edge agents at the door, of a socket or of HTTP. Source: PROTOCOLS.md 1.1, 1.2, 1.6, 1.7.

An agent shows EDGE_SECRET, a token made with it, or a secret of its own (`agent_secrets`). Failures
are counted for each (address, agent id), and for each address under whatever ids: over either
limit nothing is verified any more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
import time
import unicodedata

import structlog
from django.conf import settings
from django.utils import timezone

from accounts.models import DEFAULT_ACCOUNT, MAX_ID, EdgeAgent, agent_handle
from realtime.core.credentials import AgentSecret
from realtime.core.errors import BadCredentials, MissingCredentials, TooManyFailures
from realtime.core.limits import Buckets
from realtime.core.principal import Principal

logger = structlog.get_logger("gateway")

MARK = "gwe_"
REFUSED = "permission denied: the bearer is not this agent's"
TOKEN_S = 24 * 3600  # that a token is valid
SKEW_S = 300  # that an agent's clock may be ahead
SHARED = "shared"  # in the place of a digest: what EDGE_SECRET opens

# An address may fail more often than one agent: others behind it are not to suffer from one that
# is misconfigured. But who guesses varies the id.
ADDRESS_TIMES = 10


class Failures:
    """What was shown in vain: by each (address, agent id), and by each address."""

    def __init__(self, per_minute: int) -> None:
        self._of_agent = Buckets(per_minute=per_minute, burst=per_minute)
        many = per_minute * ADDRESS_TIMES
        self._of_address = Buckets(per_minute=many, burst=many)
        self._lock = threading.Lock()  # services run in several threads

    def wait_s(self, credential: AgentSecret) -> float:
        """Seconds until what is shown is looked at; 0.0: now."""
        now_s = time.monotonic()
        with self._lock:
            return max(
                self._of_agent.wait(_suspect(credential), now_s),
                self._of_address.wait(credential.address, now_s),
            )

    def count(self, credential: AgentSecret) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._of_agent.take(_suspect(credential), now_s)
            self._of_address.take(credential.address, now_s)


def _suspect(credential: AgentSecret) -> str:
    return f"{credential.address} {credential.agent_id[:MAX_ID]}"


_failures = Failures(settings.EDGE_AUTH_FAILURES_PER_MINUTE)


def recognise(*, credential: AgentSecret) -> Principal:
    """Which agent this is. Raises MissingCredentials, BadCredentials, TooManyFailures."""
    wait_s = _failures.wait_s(credential)
    if wait_s:
        logger.warning(
            "security.too_many_failures",
            address=credential.address,
            agent=shown(credential.agent_id),
        )
        raise TooManyFailures(retry_after_ms=round(wait_s * 1000) + 1)
    try:
        return _judge(credential)
    except (MissingCredentials, BadCredentials):
        _failures.count(credential)
        raise


def principal_again(principal: Principal) -> Principal | None:
    """The same agent, unless what it has shown is worth nothing any more."""
    row = _row(principal.account, principal.id)
    return principal if _doors(row, principal.id).intersection(principal.handles) else None


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def door(account: str, agent_id: str, digest: str) -> str:
    """The address on which the end of one secret of one agent arrives."""
    return f"agent-secret:{account}:{agent_id}:{digest[:16]}"


def shown(agent_id: str) -> str:
    """An id as a log line takes it: whatever was sent, on one line."""
    printable = (character if character.isprintable() else "?" for character in agent_id[:MAX_ID])
    return "".join(printable)


# --- what is shown ---


def _judge(credential: AgentSecret) -> Principal:
    bearer, agent_id = credential.bearer, credential.agent_id
    if bearer is None:
        kind = "Edge request" if credential.over_http else "WebSocket connection"
        logger.warning(f"{kind} rejected: missing auth header", agent=shown(agent_id))
        raise MissingCredentials("Missing or invalid Authorization header")
    if credential.named and agent_id and credential.named != agent_id:
        raise BadCredentials("X-Edge-Agent-Id differs from edge_agent_id")
    # A socket always says who it is; over HTTP a token says it as well.
    if not agent_id and not credential.over_http:
        raise BadCredentials("edge_agent_id is required")
    principal = _principal(bearer, credential)
    if principal is None:
        logger.warning(f"Token verification failed for edge_agent_id={shown(agent_id)}")
        raise BadCredentials(REFUSED)
    return principal


def _principal(bearer: str, credential: AgentSecret) -> Principal | None:
    agent_id, over_http = credential.agent_id, credential.over_http
    if not is_agent_id(agent_id) and agent_id:
        return None
    if bearer.startswith(MARK):
        return _by_own_secret(bearer, agent_id)
    secrets = [settings.EDGE_SECRET, *([settings.RELAY_WEBHOOK_SECRET] if over_http else [])]
    secrets = [secret.strip() for secret in secrets if secret.strip()]
    given = bearer.encode("latin-1", errors="replace")  # the bytes that were sent
    if any(hmac.compare_digest(given, secret.encode()) for secret in secrets):
        return _by_shared_secret(agent_id or credential.nameless, expires_at=None)
    token = _Token.read(given)
    if token is None or not any(token.is_signed(secret) for secret in secrets):
        return None
    if agent_id not in {"", token.agent_id} or not token.is_fresh(time.time()):
        return None
    return _by_shared_secret(token.agent_id, expires_at=token.issued_at + TOKEN_S)


def is_agent_id(text: str) -> bool:
    """Any text of a fair length on one line (1.1: the digit form is no rule)."""
    controls = {"Cc", "Cs", "Zl", "Zp"}
    return 0 < len(text) <= MAX_ID and not any(unicodedata.category(c) in controls for c in text)


class _Token:
    """`base64("{edge_agent_id}:{user_phone}:{unix_ts}:{sig}")`. The phone has no colon (1.2)."""

    def __init__(self, agent_id: str, signed: str, issued_at: int, signature: str) -> None:
        self.agent_id = agent_id
        self.issued_at = issued_at  # seconds since the epoch
        self._signed = signed.encode()
        self._signature = signature.encode()

    @classmethod
    def read(cls, bearer: bytes) -> _Token | None:
        try:
            text = base64.b64decode(bearer, validate=True).decode()
            signed, signature = text.rsplit(":", 1)
            agent_id, _phone, moment = signed.rsplit(":", 2)
        except (binascii.Error, ValueError):
            return None
        if not (moment.isascii() and moment.isdigit() and len(moment) <= 12):
            return None
        if not is_agent_id(agent_id):
            return None
        return cls(agent_id, signed, int(moment), signature)

    def is_signed(self, secret: str) -> bool:
        expected = hmac.new(secret.encode(), self._signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), self._signature)

    def is_fresh(self, now: float) -> bool:
        return -SKEW_S <= now - self.issued_at < TOKEN_S


# --- what it opens ---


def _by_own_secret(bearer: str, agent_id: str) -> Principal | None:
    digest = digest_of(bearer)
    rows = EdgeAgent.objects.with_secret(digest, timezone.now()).select_related("account")
    row = rows.first()
    if row is None or agent_id not in {"", row.agent_id}:
        return None
    ends = None
    if row.secret_digest != digest and row.previous_until is not None:
        ends = row.previous_until.timestamp()
    return _agent(row.account.slug, row.agent_id, digest, ends)


def _by_shared_secret(agent_id: str, *, expires_at: float | None) -> Principal | None:
    """The default account's agents, except those that have a secret of their own."""
    if not agent_id:
        return None
    row = _row(DEFAULT_ACCOUNT, agent_id)
    if door(DEFAULT_ACCOUNT, agent_id, SHARED) not in _doors(row, agent_id):
        return None
    if row is not None and row.secret_digest and row.previous_until is not None:
        ends = row.previous_until.timestamp()
        expires_at = min(ends, expires_at) if expires_at is not None else ends
    return _agent(DEFAULT_ACCOUNT, agent_id, SHARED, expires_at)


def _doors(row: EdgeAgent | None, agent_id: str) -> set[str]:
    """What opens for this agent now; one never seen (None) comes with the shared secret."""
    if row is None:
        return {door(DEFAULT_ACCOUNT, agent_id, SHARED)}
    if not row.is_active:
        return set()
    slug = row.account.slug
    digests = {row.secret_digest} if row.secret_digest else set()
    if row.previous_until is not None and row.previous_until > timezone.now():
        digests.add(row.previous_digest)
    if not row.secret_digest and slug == DEFAULT_ACCOUNT:
        digests.add(SHARED)
    return {door(slug, row.agent_id, digest) for digest in digests}


def _row(account: str, agent_id: str) -> EdgeAgent | None:
    rows = EdgeAgent.objects.select_related("account")
    return rows.filter(account__slug=account, agent_id=agent_id).first()


def _agent(account: str, agent_id: str, digest: str, expires_at: float | None) -> Principal:
    handles = (agent_handle(account, agent_id), door(account, agent_id, digest))
    return Principal(
        id=agent_id, account=account, via="edge", handles=handles, expires_at=expires_at
    )
