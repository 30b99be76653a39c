"""001's connect in the order of PROTOCOLS.md 2.4, REST bearers, and the check after joining."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import Account, ApiKey, Membership, Pairing, User
from accounts.services import credentials, devices, journal, keys, pairing, revocation, tokens
from realtime.core.credentials import PendingPairing
from realtime.core.errors import BadCredentials, InvalidParams, Revoked
from realtime.core.principal import Principal
from sessions_app.models import Session
from tests.accounts.conftest import GATEWAY_TOKEN, Ask, Connect, person

REFUSED = "permission denied: valid token or active pairing required"


def key_of(user: User, *scopes: str, **fields: Any) -> str:
    made = keys.create(principal=journal.command_line(), name="k", user=user, scopes_=scopes)
    ApiKey.objects.filter(pk=made.row.pk).update(**fields)
    return made.text


# --- 1: the gateway token ---


def test_the_gateway_token_gives_admin_and_the_claimed_id(connect: Connect) -> None:
    who = connect(token=GATEWAY_TOKEN, user_id="carol")
    assert isinstance(who, Principal)
    assert (who.id, who.role, who.account, who.via) == (
        "carol",
        "admin",
        "default",
        "gateway_token",
    )
    assert who.account_id == "0193a5b0-7000-7000-8000-000000000001"
    assert who.handles == ("user:default:carol",)


def test_without_owner_ids_only_system_is_an_owner(connect: Connect, settings: Any) -> None:
    assert connect(token=GATEWAY_TOKEN, user_id="system").role == "owner"
    settings.GATEWAY_OWNER_IDS = ["carol"]
    assert connect(token=GATEWAY_TOKEN, user_id="carol").role == "owner"
    assert connect(token=GATEWAY_TOKEN, user_id="system").role == "admin"


def test_the_gateway_token_stays_in_the_default_account(connect: Connect, other: Account) -> None:
    assert connect(token=GATEWAY_TOKEN, user_id="x", tenant="other").account == "default"


def test_an_empty_gateway_token_lets_nobody_in(connect: Connect, settings: Any) -> None:
    settings.GATEWAY_TOKEN = ""
    assert isinstance(connect(token="", user_id="x"), PendingPairing)
    with pytest.raises(BadCredentials, match=REFUSED):
        connect(token=" ", user_id="x")
    with pytest.raises(BadCredentials):
        credentials.bearer(token="")


def test_a_deactivated_user_is_refused_on_every_path(
    connect: Connect, alice: User, paired: PendingPairing
) -> None:
    key = key_of(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    ways = [
        {"token": GATEWAY_TOKEN, "user_id": "alice"},
        {"token": key},
        {"token": "", "sender_id": paired.sender_id, "user_id": "alice"},
        {"token": "wrong", "sender_id": paired.sender_id},
        {"token": "", "user_id": "alice"},
    ]
    for way in ways:
        with pytest.raises(BadCredentials, match=REFUSED):
            connect(**way)


# --- 1b: API keys ---


@pytest.mark.parametrize(
    ("scopes", "user_role", "role"),
    [
        (["operator.admin"], "admin", "admin"),
        (["operator.admin"], "operator", "operator"),
        (["operator.admin"], "viewer", "viewer"),
        (["operator.write"], "admin", "operator"),
        (["operator.approvals"], "admin", "operator"),
        (["operator.pairing"], "admin", "operator"),
        (["operator.read"], "owner", "viewer"),
        (["operator.read", "operator.write"], "admin", "operator"),
        ([], "admin", "admin"),
        ([], "viewer", "viewer"),
    ],
)
def test_a_key_has_the_lesser_role_of_its_scopes_and_its_user(
    connect: Connect, default: Account, scopes: list[str], user_role: str, role: str
) -> None:
    user = person("carol", default, user_role)
    who = connect(token=key_of(user, *scopes), user_id="somebody-else")
    assert (who.id, who.role, who.via) == ("carol", role, "api_key")
    assert who.scopes == frozenset(scopes)


def test_a_key_with_an_owner_id_forces_it(connect: Connect, alice: User) -> None:
    text = key_of(alice, owner_id="robot-7")
    who = connect(token=text, user_id="bob")
    assert who.id == "robot-7"
    pk = ApiKey.objects.get().pk
    assert set(who.handles) == {"user:default:robot-7", "user:default:alice", f"key:{pk}"}


def test_a_key_acts_in_its_own_account(connect: Connect, other_boss: User) -> None:
    who = connect(token=key_of(other_boss), tenant="default")
    assert (who.account, who.account_name) == ("other", "Other")


def test_a_key_of_a_former_member_opens_nothing(
    connect: Connect, other_boss: User, default: Account
) -> None:
    text = key_of(other_boss)
    Membership.objects.filter(user=other_boss).update(account=default)
    with pytest.raises(BadCredentials):
        connect(token=text)


@pytest.mark.parametrize(
    "fields",
    [
        {"revoked_at": timezone.now()},
        {"expires_at": timezone.now() - dt.timedelta(seconds=1)},
        {"digest": "0" * 64},
    ],
    ids=["revoked", "expired", "wrong secret"],
)
def test_an_unusable_key_falls_through_to_the_device_and_then_to_refusal(
    connect: Connect, alice: User, paired: PendingPairing, fields: dict[str, Any]
) -> None:
    text = key_of(alice, **fields)
    assert connect(token=text, sender_id=paired.sender_id).via == "device"
    with pytest.raises(BadCredentials, match=REFUSED):
        connect(token=text)


def test_sessions_work_alone_gives_no_role_here(connect: Connect, alice: User) -> None:
    with pytest.raises(BadCredentials):
        connect(token=key_of(alice, "sessions.work"))


def test_the_expiry_of_a_key_goes_with_its_principal(connect: Connect, alice: User) -> None:
    ends = timezone.now() + dt.timedelta(hours=1)
    assert connect(token=key_of(alice, expires_at=ends)).expires_at == ends.timestamp()


# --- 3a: paired devices ---


def test_a_paired_device_is_an_operator_even_with_a_wrong_token(
    connect: Connect, paired: PendingPairing
) -> None:
    row = Pairing.objects.get()
    for token in ("", "wrong"):
        who = connect(token=token, sender_id=paired.sender_id, user_id="alice")
        assert (who.id, who.role, who.account, who.via) == (
            "alice",
            "operator",
            "default",
            "device",
        )
        assert who.handles == ("user:default:alice", f"device:{row.pk}")
        assert who.expires_at == row.approved_until.timestamp()


def test_a_device_cannot_claim_another_user_than_the_one_approved(
    connect: Connect, paired: PendingPairing
) -> None:
    assert connect(sender_id=paired.sender_id, user_id="boss").id == "alice"
    assert connect(sender_id=paired.sender_id).id == "alice"


def test_a_device_without_a_user_binds_the_first_one_for_good(
    connect: Connect, ask: Ask, admin: Principal
) -> None:
    waiting = ask(user_id="")
    pairing.approve(principal=admin, code=waiting.code)
    assert connect(sender_id=waiting.sender_id).id == ""
    assert connect(sender_id=waiting.sender_id, user_id="alice").id == "alice"
    assert connect(sender_id=waiting.sender_id, user_id="bob").id == "alice"


def test_a_device_without_a_user_cannot_claim_what_somebody_has(
    connect: Connect,
    ask: Ask,
    admin: Principal,
    bob: User,
    other_boss: User,
    default: Account,
    other: Account,
) -> None:
    for user_id in ("", "carol"):
        waiting = ask(user_id=user_id)
        pairing.approve(principal=admin, code=waiting.code)
        if not user_id:
            late = waiting
    Session.objects.create(account=default, key="s", owner="erin", agent="echo")
    Session.objects.create(account=other, key="s", owner="dave", agent="echo")
    for taken in ("boss", "bob", "otherboss", "carol", "erin"):
        assert connect(sender_id=late.sender_id, user_id=taken).id == ""
    assert connect(sender_id=late.sender_id, user_id="dave").id == "dave"


def test_a_first_claim_that_comes_second_gets_the_id_of_the_first(
    connect: Connect, ask: Ask, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = ask(user_id="")
    pairing.approve(principal=admin, code=waiting.code)

    def overtaken(account: str, user_id: str) -> bool:
        Pairing.objects.filter(user_id="").update(user_id="bob")
        return False

    monkeypatch.setattr(devices, "in_use", [overtaken])
    assert connect(sender_id=waiting.sender_id, user_id="alice").id == "bob"


@pytest.mark.parametrize(
    "change",
    [
        {"approved_until": timezone.now() - dt.timedelta(seconds=1)},
        {"status": "revoked"},
        {"channel": "telegram"},
        {"proof": False},
    ],
    ids=["expired", "revoked", "another channel", "id not made by the server"],
)
def test_only_an_unexpired_paired_browser_opens_the_door(
    connect: Connect, paired: PendingPairing, change: dict[str, Any]
) -> None:
    Pairing.objects.update(**change)
    with pytest.raises(BadCredentials, match=REFUSED):
        connect(token="wrong", sender_id=paired.sender_id)
    assert isinstance(connect(sender_id=paired.sender_id, user_id="alice"), PendingPairing)


@pytest.mark.parametrize("sender_id", ["", "x" * 129, "-a", "a b", "a\x00", "ü", "a\n"])
def test_an_odd_sender_id_is_nobody(connect: Connect, sender_id: str) -> None:
    with pytest.raises(BadCredentials):
        connect(token="wrong", sender_id=sender_id)


def test_a_broken_database_lets_nobody_in(
    connect: Connect, paired: PendingPairing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(devices.Pairing.objects, "select_related", broken)
    with pytest.raises(DatabaseError):
        connect(sender_id=paired.sender_id)


# --- 3b and 4 ---


def test_an_empty_token_asks_for_pairing_in_the_hinted_account(
    connect: Connect, other: Account
) -> None:
    for hint, account in [("other", "other"), (str(other.uuid), "other"), ("nope", "default")]:
        waiting = connect(tenant=hint, address=f"10.0.1.{len(hint)}")
        assert isinstance(waiting, PendingPairing)
        assert Pairing.objects.get(code=waiting.code).account.slug == account


def test_a_wrong_token_never_starts_a_pairing(connect: Connect) -> None:
    with pytest.raises(BadCredentials, match=REFUSED):
        connect(token="wrong", user_id="alice")
    assert not Pairing.objects.exists()


def test_the_fourth_request_of_an_address_is_told_what_a_wrong_token_is_told(ask: Ask) -> None:
    for name in ("a", "b", "c"):
        ask(user_id=name)
    with pytest.raises(BadCredentials, match=REFUSED):
        ask(user_id="d")


@pytest.mark.parametrize("user_id", ["x" * 256, "a\x00b"])
def test_a_user_id_that_no_row_could_hold_is_refused(connect: Connect, user_id: str) -> None:
    with pytest.raises(InvalidParams):
        connect(token=GATEWAY_TOKEN, user_id=user_id)


def test_no_secret_is_shown_by_repr(ask: Ask) -> None:
    waiting = ask()
    assert waiting.sender_id not in repr(waiting)
    assert waiting.code not in repr(waiting)


# --- REST bearers ---


def test_bearer_knows_the_gateway_token_keys_and_access_tokens(alice: User) -> None:
    assert credentials.bearer(token=GATEWAY_TOKEN, user_id="x").via == "gateway_token"
    assert credentials.bearer(token=key_of(alice), user_id="x").id == "alice"
    who = credentials.bearer(token=tokens.issue(user=alice)["access"], user_id="x")
    assert (who.id, who.role, who.via) == ("alice", "operator", "jwt")


@pytest.mark.parametrize("token", ["", "wrong", "gwk_", "gwk_12345678_" + "a" * 43, "\udcff", "ü"])
def test_any_other_bearer_is_refused(db: None, token: str) -> None:
    with pytest.raises(BadCredentials):
        credentials.bearer(token=token)


# --- users ---


def test_a_role_comes_from_the_membership_alone(
    default: Account, other: Account, alice: User, root: User
) -> None:
    assert credentials.of_user(user=alice).role == "operator"
    assert credentials.of_user(user=root).role == "owner"
    assert credentials.of_user(user=root, account=other).account == "other"
    with pytest.raises(BadCredentials):
        credentials.of_user(user=alice, account=other)


@pytest.mark.parametrize("is_staff", [False, True])
def test_who_is_a_member_nowhere_gets_in_nowhere(
    default: Account, other: Account, ask: Ask, connect: Connect, is_staff: bool
) -> None:
    alice = person("alice", default, "admin", is_staff=is_staff)
    pair, key, waiting = tokens.issue(user=alice), key_of(alice), ask()
    Pairing.objects.update(status="approved", approved_until=timezone.now() + dt.timedelta(1))
    alice.memberships.all().delete()
    for account in (None, default, other):
        with pytest.raises(BadCredentials):
            credentials.of_user(user=alice, account=account)
    for token in (pair["access"], key):
        with pytest.raises(BadCredentials):
            credentials.bearer(token=token)
    for shown in (
        {"token": key},
        {"sender_id": waiting.sender_id},
        {},
        {"token": GATEWAY_TOKEN},
    ):
        with pytest.raises(BadCredentials):
            connect(**shown, user_id="alice")
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=pair["refresh"])
    with pytest.raises(BadCredentials):
        tokens.issue(user=alice)


# --- the check after joining ---


@pytest.fixture
def everyone(
    connect: Connect, alice: User, paired: PendingPairing
) -> dict[str, tuple[Principal, Callable[[Principal], None]]]:
    """Each kind of principal with what takes its ground away."""
    key = connect(token=key_of(alice))
    row = ApiKey.objects.get()
    device = Pairing.objects.get()
    pair = tokens.issue(user=alice)
    return {
        "gateway token": (
            connect(token=GATEWAY_TOKEN, user_id="alice"),
            lambda by: revocation.user(principal=by, user=alice),
        ),
        "key": (key, lambda by: revocation.key(principal=by, key=row)),
        "key of a demoted user": (
            key,
            lambda by: revocation.set_role(
                principal=by, user=alice, account=row.account, role="viewer"
            ),
        ),
        "device": (
            connect(sender_id=paired.sender_id),
            lambda by: revocation.device(principal=by, pairing=device),
        ),
        "device of a deactivated user": (
            connect(sender_id=paired.sender_id),
            lambda by: revocation.user(principal=by, user=alice),
        ),
        "access token": (
            credentials.bearer(token=pair["access"]),
            lambda by: tokens.revoke(refresh=pair["refresh"]),
        ),
        "access token after a log-out everywhere": (
            credentials.bearer(token=pair["access"]),
            lambda by: tokens.revoke_all(user=alice),
        ),
        "session": (
            credentials.of_user(user=alice),
            lambda by: revocation.delete_user(principal=by, user=alice),
        ),
    }


KINDS = [
    "gateway token",
    "key",
    "key of a demoted user",
    "device",
    "device of a deactivated user",
    "access token",
    "access token after a log-out everywhere",
    "session",
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_passes_until_the_ground_is_taken_away(
    kind: str, everyone: dict[str, Any], admin: Principal
) -> None:
    principal, take_away = everyone[kind]
    credentials.check(principal=principal)
    take_away(admin)
    with pytest.raises(Revoked):
        credentials.check(principal=principal)
