"""Access and refresh tokens. Source: RELIABILITY A-05..A-09."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from typing import Any

import jwt
import pytest
import time_machine
from django.conf import settings
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from accounts.models import RefreshFamily, User
from accounts.services import tokens
from realtime.core.errors import BadCredentials

REMOVED = object()
TOMORROW = int(time.time()) + 86_400  # longer after the tests are collected than they run


def signed(text: str, *, algorithm: str = "HS256", key: str | None = None, **claims: Any) -> str:
    """`text` with other claims, signed by whoever has the key."""
    payload = jwt.decode(text, options={"verify_signature": False}) | claims
    payload = {name: value for name, value in payload.items() if value is not REMOVED}
    secret = settings.SECRET_KEY if key is None else key
    return jwt.PyJWS().encode(json.dumps(payload).encode(), secret, algorithm=algorithm)


@pytest.fixture
def pair(alice: User) -> dict[str, str]:
    return tokens.issue(user=alice)


def test_a_pair_lives_five_minutes_and_seven_days(pair: dict[str, str], alice: User) -> None:
    for text, lifetime_s in ((pair["access"], 300), (pair["refresh"], 7 * 86400)):
        claims = jwt.decode(text, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == lifetime_s
        assert claims["user_id"] == str(alice.pk)
        assert claims["username"] == "alice"
        assert claims["session_epoch"] == 0
        assert claims["fam"] == str(RefreshFamily.objects.get().pk)


def test_an_access_token_is_its_user(pair: dict[str, str]) -> None:
    who = tokens.recognise(pair["access"])
    family = RefreshFamily.objects.get()
    assert (who.id, who.role, who.account) == ("alice", "operator", "default")
    assert who.handles == ("user:default:alice", f"family:{family.pk}")
    assert who.expires_at == pytest.approx(time.time() + 300, abs=60)


def test_no_token_text_is_stored(pair: dict[str, str]) -> None:
    stored = [str(value) for value in RefreshFamily.objects.values().get().values()]
    for text in pair.values():
        assert not any(part in value for value in stored for part in text.split("."))


def test_a_refresh_gives_the_next_pair_of_the_same_family(pair: dict[str, str]) -> None:
    after = tokens.refresh(refresh=pair["refresh"])
    assert after["refresh"] != pair["refresh"]
    assert tokens.recognise(after["access"]).id == "alice"
    assert RefreshFamily.objects.count() == 1
    assert tokens.refresh(refresh=after["refresh"])


def test_the_use_of_an_old_refresh_token_ends_the_family(pair: dict[str, str], shut: Any) -> None:
    after = tokens.refresh(refresh=pair["refresh"])
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=pair["refresh"])
    assert RefreshFamily.objects.get().revoked_at
    assert shut() == {"user:default:alice"}
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=after["refresh"])
    with pytest.raises(BadCredentials):
        tokens.recognise(after["access"])


def test_another_log_in_survives_the_end_of_a_family(pair: dict[str, str], alice: User) -> None:
    phone = tokens.issue(user=alice)
    tokens.revoke(refresh=pair["refresh"])
    assert tokens.recognise(phone["access"]).id == "alice"


def test_log_out_ends_both_tokens_and_closes_the_sockets(pair: dict[str, str], shut: Any) -> None:
    tokens.revoke(refresh=pair["refresh"])
    assert shut() == {"user:default:alice"}
    for use in (tokens.refresh, tokens.revoke):
        with pytest.raises(BadCredentials):
            use(refresh=pair["refresh"])
    with pytest.raises(BadCredentials):
        tokens.recognise(pair["access"])


def test_log_out_everywhere_ends_all_families(pair: dict[str, str], alice: User, shut: Any) -> None:
    phone = tokens.issue(user=alice)
    tokens.revoke_all(user=alice)
    for held in (pair, phone):
        with pytest.raises(BadCredentials):
            tokens.recognise(held["access"])
        with pytest.raises(BadCredentials):
            tokens.refresh(refresh=held["refresh"])
    assert shut() == {"user:default:alice"}
    assert tokens.recognise(tokens.issue(user=alice)["access"]).id == "alice"


@pytest.mark.parametrize("how", ["deactivated", "deleted", "epoch raised"])
def test_tokens_end_with_their_user(pair: dict[str, str], alice: User, how: str) -> None:
    if how == "deleted":
        alice.delete()
    elif how == "deactivated":
        User.objects.update(is_active=False)
    else:
        User.objects.update(session_epoch=1)
    with pytest.raises(BadCredentials):
        tokens.recognise(pair["access"])
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=pair["refresh"])


def test_an_inactive_user_is_issued_nothing(alice: User) -> None:
    alice.is_active = False
    with pytest.raises(BadCredentials):
        tokens.issue(user=alice)


ODD: list[dict[str, Any]] = [
    *[
        {"user_id": value}
        for value in ([1], {"a": 1}, "abc", "", "1" * 30, "-1", "1.0", "१", "\x00")
    ],
    *[{"user_id": value} for value in (10**30, None, True, 1.5, REMOVED, "999999")],
    *[{"session_epoch": value} for value in ("0", -1, 10**30, None, True, [], REMOVED, 1)],
    *[{"fam": value} for value in ("x", 1, None, [], REMOVED, str(uuid.uuid4()))],
    *[{"jti": value} for value in (1, None, [], REMOVED)],
    *[{"exp": value} for value in (REMOVED, 1, None, [], "x", 10**30, -(10**30))],
    *[{"iat": value} for value in (TOMORROW, "x", [])],
    *[{"nbf": value} for value in (TOMORROW, [])],
    *[{"aud": value} for value in (REMOVED, "else", ["else"], 1, None)],
    *[{"iss": value} for value in (REMOVED, "else", 1)],
    *[{"token_type": value} for value in (REMOVED, "refresh", "sliding", 1, None)],
]


@pytest.mark.parametrize("claims", ODD, ids=",".join)
def test_an_odd_claim_is_a_bad_credential(pair: dict[str, str], claims: dict[str, Any]) -> None:
    with pytest.raises(BadCredentials):
        tokens.recognise(signed(pair["access"], **claims))


@pytest.mark.parametrize("claims", [c for c in ODD if "token_type" not in c], ids=",".join)
def test_an_odd_claim_refreshes_nothing(pair: dict[str, str], claims: dict[str, Any]) -> None:
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=signed(pair["refresh"], **claims))
    if "jti" not in claims:
        assert tokens.refresh(refresh=pair["refresh"])


def test_the_tests_own_signature_is_good(pair: dict[str, str]) -> None:
    assert tokens.recognise(signed(pair["access"])).id == "alice"


def test_the_wrong_kind_of_token_is_refused(pair: dict[str, str]) -> None:
    with pytest.raises(BadCredentials):
        tokens.recognise(pair["refresh"])
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=pair["access"])


@pytest.mark.filterwarnings("ignore:The HMAC key is")
@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_only_the_one_algorithm_is_read(pair: dict[str, str], algorithm: str) -> None:
    forged = signed(pair["access"], algorithm=algorithm, key="" if algorithm == "none" else None)
    with pytest.raises(BadCredentials):
        tokens.recognise(forged)


def test_a_token_of_another_key_is_refused(pair: dict[str, str]) -> None:
    with pytest.raises(BadCredentials):
        tokens.recognise(signed(pair["access"], key="k" * 64))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "a.b.c", "ü.ü.ü", "x" * 8192, "eyJhbGciOiJub25lIn0..", "\udcff"]
)
def test_garbage_is_a_bad_credential(db: None, text: str) -> None:
    for use in (tokens.recognise, lambda given: tokens.refresh(refresh=given)):
        with pytest.raises(BadCredentials):
            use(text)


def test_a_plain_simplejwt_token_is_refused_because_it_could_not_be_revoked(alice: User) -> None:
    with pytest.raises(BadCredentials):
        tokens.recognise(str(AccessToken.for_user(alice)))
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=str(RefreshToken.for_user(alice)))


def test_expiry_has_five_seconds_of_leeway(pair: dict[str, str]) -> None:
    now = int(time.time())
    with time_machine.travel(now, tick=False):
        assert tokens.recognise(signed(pair["access"], exp=now - 4)).id == "alice"
        with pytest.raises(BadCredentials):
            tokens.recognise(signed(pair["access"], exp=now - 5))


def test_families_that_ran_out_are_forgotten(pair: dict[str, str]) -> None:
    assert tokens.delete_expired() == 0
    RefreshFamily.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert tokens.delete_expired() == 1
