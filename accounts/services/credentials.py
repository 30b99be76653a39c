"""Claims shown at the door -> a proved identity. Source: PROTOCOLS.md 2.4, 6."""

from __future__ import annotations

import hmac

from django.conf import settings
from django.utils import timezone

from accounts.models import Account, ApiKey, Pairing, RefreshFamily, User, user_handle
from accounts.services import (
    agents,
    devices,
    identity,
    keys,
    nexus_tokens,
    pairing,
    staff,
    tickets,
    tokens,
)
from accounts.services.pairing_words import check_user_id
from realtime.core.credentials import ConnectToken, PendingPairing
from realtime.core.errors import BadCredentials, Revoked
from realtime.core.principal import Principal

REFUSED = "permission denied: valid token or active pairing required"


def connect(*, credential: ConnectToken) -> Principal | PendingPairing:
    """001's `connect`, in the order of 2.4. Raises BadCredentials, InvalidParams.

    Decided by what is proved alone: role and user id are never taken from a claim, except the user
    id of who holds the gateway token.
    """
    check_user_id(credential.user_id)
    if credential.token:
        principal = _gateway(credential.token, credential.user_id) or _api_key(credential.token)
        if principal is not None:
            return principal
    device = devices.recognise(credential.sender_id, claimed_id=credential.user_id)
    if device is not None:
        return device
    if credential.token:
        raise BadCredentials(REFUSED)
    return _ask_for_pairing(credential)


def bearer(*, token: str, user_id: str = "") -> Principal:
    """A REST caller: gateway token, API key or access token. Raises BadCredentials.

    `user_id` is heard with the gateway token only.
    """
    check_user_id(user_id)
    principal = _gateway(token, user_id) or keys.recognise(token)
    return principal or tokens.recognise(token)


def of_user(*, user: User, account: Account | None = None) -> Principal:
    """A person whom Django has logged in, in `account` (default: their own).

    Raises BadCredentials when inactive or without a role there.
    """
    principal = identity.principal_of(user, account or user.home(), via="session")
    if principal is None:
        raise BadCredentials("user is not active in this account")
    return principal


def check(*, principal: Principal) -> None:
    """Raise Revoked if what `principal` lives on is gone, or now gives someone or something else.

    For the moment after joining the revocation addresses: earlier news was not heard.
    """
    now_is = _again(principal)
    if now_is is None or _authority(now_is) != _authority(principal):
        raise Revoked


def _authority(principal: Principal) -> tuple[str, str, str, bool]:
    return principal.account, principal.id, principal.role, principal.is_superuser


def _gateway(token: str, user_id: str) -> Principal | None:
    given, expected = token.encode(errors="replace"), settings.GATEWAY_TOKEN.encode()
    if not expected or not hmac.compare_digest(given, expected):
        return None
    account = Account.default()
    if identity.is_shut_out(account.slug, user_id):
        raise BadCredentials(REFUSED)
    owners = settings.GATEWAY_OWNER_IDS or ["system"]
    return Principal(
        id=user_id,
        account=account.slug,
        role="owner" if user_id in owners else "admin",
        account_id=str(account.uuid),
        account_name=account.name,
        handles=(user_handle(account.slug, user_id),) if user_id else (),
        via="gateway_token",
    )


def _api_key(text: str) -> Principal | None:
    """A key whose scopes give a role; `sessions.work` alone is none of 001's."""
    principal = keys.recognise(text)
    return principal if principal and principal.role else None


def _ask_for_pairing(credential: ConnectToken) -> PendingPairing:
    account = pairing.hinted(credential.tenant)
    if identity.is_shut_out(account.slug, credential.user_id):
        raise BadCredentials(REFUSED)
    try:
        return pairing.begin(
            sender_id=credential.sender_id,
            user_id=credential.user_id,
            tenant=credential.tenant,
            address=credential.address,
            user_agent=credential.user_agent,
        )
    except pairing.TooManyPending:
        raise BadCredentials(REFUSED) from None


def _again(principal: Principal) -> Principal | None:
    """The principal that the same credential gives now."""
    kinds = dict(handle.split(":", 1) for handle in reversed(principal.handles))
    if principal.via == "gateway_token":
        gone = identity.is_shut_out(principal.account, principal.id)
        return None if gone else principal
    if principal.via == "edge":
        return agents.principal_again(principal)
    if principal.via == nexus_tokens.VIA:
        return principal  # its token ends, and nothing of ours can be taken from it before
    if principal.via == "api_key":
        key = ApiKey.objects.usable(timezone.now()).select_related("user", "account")
        row = key.filter(pk=kinds["key"]).first()
        return keys.principal_of(row) if row else None
    if principal.via == "device":
        paired = Pairing.objects.paired(timezone.now()).select_related("account")
        device = paired.filter(pk=kinds["device"]).first()
        return devices.principal_of(device) if device else None
    if principal.via == "jwt":
        families = RefreshFamily.objects.filter(revoked_at=None).select_related("user")
        family = families.filter(pk=kinds["family"]).first()
        return tickets.visa_again(principal, family) if family else None
    if principal.via == tickets.GUEST:
        return tickets.guest()
    if "session" in kinds:
        return staff.again(kinds["session"])
    return _session_again(principal)


def _session_again(principal: Principal) -> Principal | None:
    user = User.objects.filter(username=principal.id).first()
    account = Account.objects.filter(slug=principal.account).first()
    if user is None or account is None:
        return None
    return identity.principal_of(user, account, via=principal.via)
