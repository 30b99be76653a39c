"""Who may come in: people, tenants, keys, paired devices, refresh tokens."""

from accounts.models.agents import EdgeAgent, agent_handle
from accounts.models.keys import ApiKey, RefreshFamily
from accounts.models.pairing import TRANSITIONS, Pairing
from accounts.models.people import (
    DEFAULT_ACCOUNT,
    DEFAULT_ACCOUNT_UUID,
    MAX_ID,
    Account,
    Membership,
    User,
    user_handle,
)

__all__ = [
    "DEFAULT_ACCOUNT",
    "DEFAULT_ACCOUNT_UUID",
    "MAX_ID",
    "TRANSITIONS",
    "Account",
    "ApiKey",
    "EdgeAgent",
    "Membership",
    "Pairing",
    "RefreshFamily",
    "User",
    "agent_handle",
    "user_handle",
]
