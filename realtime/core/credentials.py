"""Unverified claims: what is shown at the door. `accounts.services.credentials` verifies them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ConnectToken:
    """001's `connect` parameters. Source: PROTOCOLS.md 2.4.

    `sender_id` proves a paired device and is as secret as a token: neither is shown in `repr`.
    """

    token: str = field(default="", repr=False)
    sender_id: str = field(default="", repr=False)
    user_id: str = ""
    tenant: str = ""
    address: str = ""
    user_agent: str = ""

    @property
    def guess(self) -> str:
        """What a guesser would vary: the failures of one address are counted where it is given."""
        return self.token


@dataclass(frozen=True, slots=True)
class PendingPairing:
    """The answer to a connect without a token: wait for an administrator. PROTOCOLS.md 2.5.

    `expires_at` in seconds since the epoch.
    """

    code: str = field(repr=False)
    sender_id: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class StaffSession:
    """The cookie of somebody whom Django's admin has logged in: `/admin/ws`. PROTOCOLS.md 0.1."""

    session_key: str = field(default="", repr=False)
    address: str = ""

    @property
    def guess(self) -> str:
        return self.session_key


@dataclass(frozen=True, slots=True)
class AgentSecret:
    """What an edge agent shows: a bearer, and its id once or twice. PROTOCOLS.md 1.1, 1.2.

    `bearer` is None without an `Authorization: Bearer `. `over_http`: the agent's fallback of 1.7.
    `nameless`: who it is that shows the shared secret over HTTP and says no id; "": nobody.
    """

    bearer: str | None = field(default=None, repr=False)
    agent_id: str = ""
    named: str = ""  # in X-Edge-Agent-Id
    address: str = ""
    over_http: bool = False
    nameless: str = ""

    @property
    def guess(self) -> str:
        return self.bearer or ""


@dataclass(frozen=True, slots=True)
class GroupTicket:
    """What a client of 003 shows; "" where it shows nothing. PROTOCOLS.md 4.1, 4.2.

    `account` (`x_account_id`: a slug or tenant id) selects among accounts, it proves nothing.
    """

    api_key: str = field(default="", repr=False)
    jwt: str = field(default="", repr=False)
    account: str = ""
    address: str = ""

    @property
    def guess(self) -> str:
        return self.api_key or self.jwt


@dataclass(frozen=True, slots=True)
class Jwt:
    """004's `?token=`: a JWT of somebody's or one of ours. PROTOCOLS.md 5.1."""

    token: str = field(default="", repr=False)
    address: str = ""

    @property
    def guess(self) -> str:
        return self.token


@dataclass(frozen=True, slots=True)
class SessionTicket:
    """What is shown at a session of 002: an access token or an API key. PROTOCOLS.md 3.1, 3.2.

    `organization` (a slug or tenant id) selects among accounts, it proves nothing. `works`: whether
    it is a worker that comes.
    """

    token: str = field(default="", repr=False)
    organization: str = ""
    works: bool = False
    address: str = ""

    @property
    def guess(self) -> str:
        return self.token


def bearer_of(header: str) -> str | None:
    """Capital B and one space, as 1.1 has it; None for anything else."""
    scheme, space, bearer = header.partition(" ")
    return bearer if scheme == "Bearer" and space else None


Credential = ConnectToken | StaffSession | AgentSecret | GroupTicket | Jwt | SessionTicket
