"""Who comes in to the groups of 003, and to the sessions of 002. Source: PROTOCOLS.md 3.2, 4.1,
4.2, 6.

An API key is the entry ticket, an access token the visa: either lets in, and who shows both is the
person of the token, for as long as both are valid. `x_account_id` only chooses.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

from django.conf import settings
from django.utils import timezone

from accounts.models import Account, ApiKey, RefreshFamily
from accounts.services import keys, tokens
from accounts.services.scopes import WORK
from realtime.core.credentials import GroupTicket, SessionTicket
from realtime.core.errors import BadCredentials, MissingCredentials
from realtime.core.principal import Principal

GUEST = "guest"
GUEST_ID = "aether:guest"  # of all guests: none of them can prove to be another
NOT_THEIRS = "x_account_id is not an account that these credentials may use"
NOT_OF = "the credentials are not of this organization"


def recognise(*, credential: GroupTicket) -> Principal:
    """What is shown must be valid, all of it. Raises MissingCredentials, BadCredentials."""
    key = _key(credential.api_key) if credential.api_key else None
    visa = tokens.recognise(credential.jwt) if credential.jwt else None
    wanted = _account(credential.account) if credential.account else None
    if key is not None:
        if wanted is not None and wanted.slug != key.account:
            raise BadCredentials(NOT_THEIRS)
        return _both(key, _elsewhere(visa, credential.jwt, key.account)) if visa else key
    if visa is not None:
        return _elsewhere(visa, credential.jwt, wanted.slug) if wanted else visa
    stranger = guest()
    if stranger is None:
        raise MissingCredentials("api_key or jwt is required")
    if wanted is not None and wanted.slug != stranger.account:
        raise BadCredentials(NOT_THEIRS)
    return stranger


def at_session(*, credential: SessionTicket) -> Principal:
    """An access token or an API key; a worker's key has the scope for it. Raises BadCredentials."""
    wanted = _account(credential.organization, NOT_OF) if credential.organization else None
    principal = keys.recognise(credential.token)
    if principal is None:
        principal = tokens.recognise(credential.token)
        if wanted is not None:
            principal = _elsewhere(principal, credential.token, wanted.slug, NOT_OF)
    elif wanted is not None and wanted.slug != principal.account:
        raise BadCredentials(NOT_OF)
    if credential.works and WORK not in principal.scopes:
        raise BadCredentials(f"a worker shows an API key with the scope {WORK}")
    if not credential.works and not principal.role:
        raise BadCredentials(f"a key with {WORK} alone does not watch")
    return principal


def guest() -> Principal | None:
    """Somebody without credentials, where those are let in; they read and write as a viewer."""
    if settings.AETHER_REQUIRE_API_KEY:
        return None
    account = Account.default()
    return Principal(
        id=GUEST_ID,
        account=account.slug,
        role="viewer",
        account_id=str(account.uuid),
        account_name=account.name,
        via=GUEST,
    )


def visa_again(principal: Principal, family: RefreshFamily) -> Principal | None:
    """The person of a token in the same account, if the key shown with it is still good, too."""
    shown = [name[4:] for name in principal.handles if name.startswith("key:")]
    if shown and not ApiKey.objects.usable(timezone.now()).filter(pk__in=shown).exists():
        return None
    account = Account.objects.filter(slug=principal.account).first()
    return tokens.principal_of(family, account) if account else None


def _key(text: str) -> Principal:
    """A key whose scopes give a role; `sessions.work` alone is none of 003's."""
    principal = keys.recognise(text)
    if principal is None or not principal.role:
        raise BadCredentials("api_key is not valid")
    return principal


def _account(named: str, refusal: str = NOT_THEIRS) -> Account:
    """By slug or tenant id; what does not exist is refused as what is another's."""
    found = None
    if "\x00" not in named:  # no database could look for that
        found = Account.objects.filter(slug=named).first() or _by_uuid(named)
    if found is None:
        raise BadCredentials(refusal)
    return found


def _by_uuid(named: str) -> Account | None:
    try:
        return Account.objects.filter(uuid=uuid.UUID(named)).first()
    except ValueError:
        return None


def _elsewhere(visa: Principal, jwt: str, account: str, refusal: str = NOT_THEIRS) -> Principal:
    """The person of the token in an account that is not theirs by default."""
    if visa.account == account:
        return visa
    try:
        return tokens.recognise(jwt, Account.objects.filter(slug=account).first())
    except BadCredentials:
        raise BadCredentials(refusal) from None


def _both(key: Principal, visa: Principal) -> Principal:
    """The person; whatever ends the key ends this, too."""
    ends = [at for at in (key.expires_at, visa.expires_at) if at is not None]
    handles = (*visa.handles, *(name for name in key.handles if name not in visa.handles))
    return replace(visa, handles=handles, expires_at=min(ends, default=None))
