"""The tokens of 004. Source: PROTOCOLS.md 5.1, 6; RELIABILITY A-05, A-06."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest

from accounts.models import Account, Membership, RefreshFamily, User
from accounts.services import credentials, nexus_tokens, tokens
from realtime.core.credentials import Jwt
from realtime.core.errors import BadCredentials, InvalidParams, Revoked
from realtime.core.principal import Principal
from tests.accounts.conftest import person

KEY = "a-secret-of-other-programs-and-of-ours"
CLAIMS = {"userId": "usr_123", "role": "agent"}

pytestmark = pytest.mark.usefixtures("default")


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.NEXUS_JWT_SECRET = KEY
    settings.NEXUS_OBSERVERS_PUBLISH = True


def shown(token: str) -> Principal:
    return nexus_tokens.recognise(credential=Jwt(token=token))


def signed(claims: Any = CLAIMS, key: str = KEY, **options: Any) -> str:
    """Whatever the claims are, also such as no library would sign."""
    text = claims if isinstance(claims, str) else json.dumps(claims)
    return jwt.PyJWS().encode(text.encode(), key, **{"algorithm": "HS256"} | options)


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_whoever_the_secret_vouches_for_is_somebody_of_the_default_account() -> None:
    who = shown(signed())
    assert (who.id, who.account, who.role, who.via) == (
        "nexus:usr_123",
        "default",
        "viewer",
        "nexus",
    )
    assert who.account_id == str(Account.default().uuid)
    assert who.handles == ("user:default:nexus:usr_123",)
    assert who.expires_at is None and not who.scopes and not who.is_superuser


def test_a_user_of_the_same_name_is_somebody_else(alice: User) -> None:
    assert shown(signed({"userId": "alice", "role": "admin"})).id == "nexus:alice"
    assert shown(tokens.issue(user=alice)["access"]).id == "alice"


@pytest.mark.parametrize(
    ("claimed", "role"),
    [
        *[(name, "viewer") for name in ("seedbringer", "council", "agent", "observer", "", "root")],
        ("viewer", "viewer"),
        *[(name, "operator") for name in ("operator", "admin", "owner")],
    ],
)
def test_a_foreign_role_is_at_most_an_operators(claimed: str, role: str) -> None:
    assert shown(signed({"userId": "u", "role": claimed})).role == role


def test_a_token_ends_when_it_says() -> None:
    ends = int(time.time()) + 60
    assert shown(signed(CLAIMS | {"exp": ends, "iat": ends - 120})).expires_at == ends
    assert shown(signed(CLAIMS | {"sub": 7, "aud": "x", "iss": "y", "jti": 1})).id


@pytest.mark.parametrize(
    "user_id", ["a", "usr ü 💙", "nexus:x", "a/b:c@d", "x" * nexus_tokens.LONGEST_ID]
)
def test_any_printable_text_is_an_id(user_id: str) -> None:
    assert shown(signed({"userId": user_id})).id == f"nexus:{user_id}"


NOW_S, DAY_S = int(time.time()), 86_400  # when the tests are collected, and longer than they run
BAD_CLAIMS = [
    {"role": "agent"},
    {"user_id": "usr_123", "role": "agent"},
    *[CLAIMS | {"userId": odd} for odd in ("", None, 7, ["u"], {"a": 1}, True, 10**30)],
    *[CLAIMS | {"userId": odd} for odd in ("a\x00b", "a\nb", "a\u202eb", "x" * 250)],
    *[CLAIMS | {"role": odd} for odd in (None, 7, ["admin"], {"role": "admin"})],
    *[CLAIMS | {"exp": odd} for odd in (NOW_S - 1, 0, -1, None, "soon", [], {}, True, 10**400)],
    '{"userId":"u","role":"agent","exp":Infinity}',
    '{"userId":"u","role":"agent","exp":NaN}',
    *[CLAIMS | {"nbf": odd} for odd in (NOW_S + DAY_S, None, "later")],
    *[CLAIMS | {"iat": odd} for odd in (NOW_S + DAY_S, None, "then")],
    "[]",
    "null",
    '"usr_123"',
    "7",
    "not json",
    "[" * 2000,
    '{"userId":"\\ud800","role":"agent"}',
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=lambda claims: str(claims)[:50])
def test_odd_claims_are_bad_credentials_though_they_are_signed(claims: Any) -> None:
    with pytest.raises(BadCredentials):
        shown(signed(claims))


def forged() -> dict[str, str]:
    good = signed()
    head, body, signature = good.split(".")
    admin = part(json.dumps({"userId": "root", "role": "admin"}))
    none, hs512 = part('{"alg":"none","typ":"JWT"}'), part('{"alg":"HS512","typ":"JWT"}')
    detached = part('{"alg":"HS256","b64":false}')
    return {
        "empty": "",
        "no token": "nonsense",
        "dots": "..",
        "a fourth part": f"{good}.x",
        "two parts": f"{head}.{body}",
        "alg none": f"{none}.{body}.",
        "alg none with a signature": f"{none}.{body}.{signature}",
        "alg of another": f"{hs512}.{body}.{signature}",
        "HS384": signed(algorithm="HS384", key=KEY * 2),
        "HS512": signed(algorithm="HS512", key=KEY * 2),
        "another key": signed(key="another-key-of-thirty-two-characters"),
        "the reference's key": signed(key="your-secret-key-your-secret-key-"),
        "tampered": f"{head}.{admin}.{signature}",
        "no signature": f"{head}.{body}.",
        "critical header": signed(headers={"crit": ["unknown"], "unknown": 1}),
        "detached": f"{detached}..{signature}",
        "a deep header": f"{part('[' * 2000)}.{body}.{signature}",
        "huge": signed(CLAIMS | {"more": "x" * 4096}),
        "unicode": good + "ü",
        "a full stop of another script": good.replace(".", "\u3002"),
        "a null": good + "\x00",
        "a line": good + "\n",
        "a surrogate": good + "\ud800",
    }


@pytest.mark.parametrize("token", [pytest.param(t, id=name) for name, t in forged().items()])
def test_what_is_forged_is_refused(token: str) -> None:
    with pytest.raises(BadCredentials):
        shown(token)


def test_our_own_tokens_name_our_own_people(alice: User, other_boss: User) -> None:
    who = shown(tokens.issue(user=alice)["access"])
    assert (who.id, who.account, who.role, who.via) == ("alice", "default", "operator", "jwt")
    assert who.expires_at is not None and f"family:{RefreshFamily.objects.get().pk}" in who.handles
    assert shown(tokens.issue(user=other_boss)["access"]).account == "other"


def test_a_refresh_token_and_one_of_a_family_that_has_ended_are_refused(alice: User) -> None:
    pair = tokens.issue(user=alice)
    with pytest.raises(BadCredentials):
        shown(pair["refresh"])
    tokens.revoke(refresh=pair["refresh"])
    with pytest.raises(BadCredentials):
        shown(pair["access"])


def test_an_expired_token_of_ours_is_expired_though_others_have_a_leeway(
    alice: User, settings: Any
) -> None:
    text = tokens.issue(user=alice)["access"]
    claims = jwt.decode(text, options={"verify_signature": False}) | {"exp": time.time() - 1}
    with pytest.raises(BadCredentials):
        shown(signed(claims, key=settings.SECRET_KEY))


def test_the_secret_of_others_signs_none_of_ours(alice: User) -> None:
    text = tokens.issue(user=alice)["access"]
    claims = jwt.decode(text, options={"verify_signature": False})
    with pytest.raises(BadCredentials):
        shown(signed(claims))


def test_where_observers_do_not_publish_they_and_our_viewers_only_read(
    settings: Any, default: Account, alice: User
) -> None:
    vera = person("vera", default, Membership.Role.VIEWER.value)
    settings.NEXUS_OBSERVERS_PUBLISH = False
    reads = [
        shown(signed({"userId": "u", "role": "observer"})),
        shown(signed({"userId": "u", "role": "viewer"})),
        shown(tokens.issue(user=vera)["access"]),
    ]
    writes = [shown(signed()), shown(tokens.issue(user=alice)["access"])]
    assert [who.only_reads for who in reads + writes] == [True] * 3 + [False] * 2
    settings.NEXUS_OBSERVERS_PUBLISH = True
    assert not shown(signed({"userId": "u", "role": "observer"})).only_reads


def test_whoever_was_let_in_stays_until_what_they_live_on_is_gone(alice: User) -> None:
    foreign, pair = shown(signed()), tokens.issue(user=alice)
    ours = shown(pair["access"])
    for who in (foreign, ours):
        credentials.check(principal=who)
    tokens.revoke(refresh=pair["refresh"])
    credentials.check(principal=foreign)
    with pytest.raises(Revoked):
        credentials.check(principal=ours)
    with pytest.raises(Revoked):
        credentials.check(principal=replace(foreign, via="session"))


def test_an_issued_token_opens_for_as_long_as_it_was_issued() -> None:
    token = nexus_tokens.issue(user_id="usr_1", role="operator", lifetime=dt.timedelta(hours=1))
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    who = shown(token)
    assert (who.id, who.role) == ("nexus:usr_1", "operator")
    assert who.expires_at == pytest.approx(time.time() + 3600, abs=60)


@pytest.mark.parametrize(
    ("user_id", "role"), [("", "agent"), ("a\nb", "agent"), ("x" * 250, "agent"), ("u", "r" * 65)]
)
def test_no_token_is_issued_that_would_not_open(user_id: str, role: str) -> None:
    with pytest.raises(InvalidParams):
        nexus_tokens.issue(user_id=user_id, role=role, lifetime=dt.timedelta(hours=1))
