"""Edge agents at the door. Source: PROTOCOLS.md 1.1, 1.2, 1.6, 1.7."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from structlog.testing import capture_logs

from accounts.models import Account, EdgeAgent, User
from accounts.services import agent_secrets, agents, credentials
from realtime.core import addresses
from realtime.core.credentials import AgentSecret
from realtime.core.errors import (
    BadCredentials,
    InvalidParams,
    MissingCredentials,
    NotFound,
    Revoked,
    RoleTooLow,
    TooManyFailures,
)
from realtime.core.events import EXPIRES
from realtime.core.principal import Principal
from realtime.models import Announcement

SECRET = "edge-secret-for-tests"
RELAY = "relay-secret-for-tests"
EDGE_1 = "edge_13238407486"
MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.fixture(autouse=True)
def door(settings: Any, monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    settings.EDGE_SECRET = SECRET
    settings.RELAY_WEBHOOK_SECRET = RELAY
    monkeypatch.setattr(agents, "_failures", agents.Failures(10))


def show(bearer: str | None, agent_id: str = EDGE_1, **fields: Any) -> Principal:
    fields = {"address": "10.0.0.1", **fields}
    return agents.recognise(credential=AgentSecret(bearer=bearer, agent_id=agent_id, **fields))


def signed(text: str, secret: str = SECRET) -> str:
    """The token of 1.2 around `<id>:<phone>:<unix_ts>`."""
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(f"{text}:{signature}".encode()).decode()


def token(
    agent_id: str = EDGE_1, *, age_s: float = 0, secret: str = SECRET, phone: str = "+13238407486"
) -> str:
    return signed(f"{agent_id}:{phone}:{int(time.time() - age_s)}", secret)


# --- the shared secret ---


@pytest.mark.parametrize("agent_id", [EDGE_1, "edge:with:colons", "Übergabe 7", "x" * 255])
def test_the_raw_secret_is_every_agents_of_the_default_account(agent_id: str) -> None:
    who = show(SECRET, agent_id)
    assert (who.id, who.account, who.role, who.via) == (agent_id, "default", "", "edge")
    assert who.handles[0] == f"agent:default:{agent_id}"
    assert who.expires_at is None


def test_whitespace_is_taken_off_our_side_only(settings: Any) -> None:
    settings.EDGE_SECRET = f"  {SECRET}\n"
    assert show(SECRET).id == EDGE_1
    with pytest.raises(BadCredentials):
        show(f" {SECRET}")


def test_a_secret_of_any_script_is_compared_as_its_bytes(settings: Any) -> None:
    settings.EDGE_SECRET = "geheimnis-ü"
    assert show("geheimnis-ü".encode().decode("latin-1")).id == EDGE_1  # as a header arrives


@pytest.mark.parametrize("bearer", ["", "wrong", SECRET[:-1], SECRET + "x", "ü€", "gwe_x", RELAY])
def test_a_wrong_bearer_is_refused_and_logged_without_it(bearer: str) -> None:
    with capture_logs() as lines, pytest.raises(BadCredentials):
        show(bearer)
    (line,) = lines
    assert line["event"] == f"Token verification failed for edge_agent_id={EDGE_1}"
    assert not bearer or bearer not in str(line)


def test_an_empty_secret_opens_nothing(settings: Any) -> None:
    settings.EDGE_SECRET = settings.RELAY_WEBHOOK_SECRET = " "
    for bearer in ("", " ", token(secret="")):
        with pytest.raises(BadCredentials):
            show(bearer, over_http=True)


def test_without_a_bearer_it_is_another_refusal() -> None:
    with capture_logs() as lines, pytest.raises(MissingCredentials) as refused:
        show(None)
    assert str(refused.value) == "Missing or invalid Authorization header"
    assert lines[0]["event"] == "WebSocket connection rejected: missing auth header"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"agent_id": ""}, "edge_agent_id is required"),
        ({"named": "edge_2"}, "X-Edge-Agent-Id differs from edge_agent_id"),
        ({"agent_id": "a\x00b"}, agents.REFUSED),
        ({"agent_id": "a\nb"}, agents.REFUSED),
        ({"agent_id": "a\u2028b"}, agents.REFUSED),
        ({"agent_id": "x" * 256}, agents.REFUSED),
    ],
)
def test_an_id_that_is_missing_torn_or_no_id_is_refused(fields: Any, words: str) -> None:
    with capture_logs() as lines, pytest.raises(BadCredentials) as refused:
        show(SECRET, **fields)
    assert str(refused.value) == words
    assert all(len(line["event"].splitlines()) == 1 for line in lines)


# --- the token ---


@pytest.mark.parametrize("age_s", [0, 23 * HOUR, -2 * MINUTE])
def test_a_token_is_valid_for_a_day_and_its_socket_ends_with_it(age_s: float) -> None:
    who = show(token(age_s=age_s))
    assert who.id == EDGE_1
    assert who.expires_at == pytest.approx(time.time() - age_s + DAY, abs=60)


@pytest.mark.parametrize(
    "bearer",
    [
        token(age_s=DAY + 1),
        token(age_s=-DAY),  # made when the tests are collected
        token("edge_2"),
        token(secret="another"),
        token(secret=RELAY),  # the HTTP side's own
        token().rstrip("=")[:-4],
        signed("no-colons-at-all"),
        signed(f"{EDGE_1}:+1:soon"),
        signed(f"{EDGE_1}:+1:-5"),
        signed(f"{EDGE_1}:+1:{'9' * 400}"),
        signed(f"{EDGE_1}:+1:١٢٣"),
        base64.b64encode(b"\xff\xfe:a:b:c").decode(),
        base64.b64encode(f"{EDGE_1}:+1:{int(time.time())}:".encode()).decode(),
    ],
)
def test_a_token_that_is_old_foreign_forged_or_torn_is_refused(bearer: str) -> None:
    with pytest.raises(BadCredentials):
        show(bearer)


def test_the_http_side_has_a_secret_of_its_own_too() -> None:
    for bearer in (RELAY, SECRET, token(secret=RELAY), token()):
        assert show(bearer, over_http=True).id == EDGE_1
    with pytest.raises(BadCredentials):
        show(RELAY)


def test_over_http_a_token_says_whose_it_is() -> None:
    assert show(token("edge:2"), "", over_http=True).id == "edge:2"
    with pytest.raises(BadCredentials):
        show(SECRET, "", over_http=True)
    with pytest.raises(BadCredentials):
        show(token("edge_2"), EDGE_1, over_http=True)


# --- a secret of its own ---

Rotate = Callable[..., str]


@pytest.fixture
def rotate(admin: Principal) -> Rotate:
    """A new secret of EDGE_1, by the account's administrator."""

    def go(overlap_s: float = 0, **fields: Any) -> str:
        asked = {"principal": admin, "agent_id": EDGE_1, **fields}
        made = agent_secrets.rotate(overlap=dt.timedelta(seconds=overlap_s), **asked)
        return made.text

    return go


def test_an_own_secret_opens_for_its_agent_alone(rotate: Rotate) -> None:
    secret = rotate()
    assert len(secret) == 56 and secret.startswith("gwe_") and secret[12] == "_"
    assert (show(secret).id, show(secret, "", over_http=True).id) == (EDGE_1, EDGE_1)
    for bearer, agent_id in [(secret, "edge_2"), (secret[:-1] + "#", EDGE_1)]:
        with pytest.raises(BadCredentials):
            show(bearer, agent_id)


def test_only_its_digest_is_kept(rotate: Rotate) -> None:
    secret = rotate()
    row = EdgeAgent.objects.get()
    assert row.secret_digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(vars(row))


def test_it_takes_the_place_of_the_shared_secret(rotate: Rotate, shut: Any) -> None:
    before = show(SECRET)
    rotate()
    for bearer in (SECRET, token()):
        with pytest.raises(BadCredentials):
            show(bearer)
    assert show(SECRET, "edge_2").id == "edge_2"
    assert shut() == {before.handles[1]}


def test_another_accounts_agent_comes_with_its_own_secret_only(
    rotate: Rotate, other_admin: Principal
) -> None:
    secret = rotate(principal=other_admin)
    who = show(secret)
    assert (who.id, who.account) == (EDGE_1, "other")
    assert who.handles[0] == f"agent:other:{EDGE_1}"
    assert show(SECRET).account == "default"


def test_in_the_overlap_both_open_and_the_older_ends_with_it(rotate: Rotate, shut: Any) -> None:
    first = rotate()
    second = rotate(overlap_s=HOUR)
    assert show(second).expires_at is None
    assert show(first).expires_at == pytest.approx(time.time() + HOUR, abs=60)
    assert show(first).handles[1] not in shut()
    EdgeAgent.objects.update(previous_until=timezone.now())
    with pytest.raises(BadCredentials):
        show(first)
    assert show(second).id == EDGE_1


def test_the_shared_secret_has_its_overlap_too(rotate: Rotate) -> None:
    rotate(overlap_s=HOUR)
    assert show(SECRET).expires_at == pytest.approx(time.time() + HOUR, abs=60)
    assert show(token(age_s=23.5 * HOUR)).expires_at == pytest.approx(
        time.time() + HOUR / 2, abs=60
    )
    EdgeAgent.objects.update(previous_until=timezone.now())
    with pytest.raises(BadCredentials):
        show(SECRET)


def test_without_an_overlap_the_older_ends_at_once(rotate: Rotate, shut: Any) -> None:
    first = show(rotate())
    second = show(rotate())
    with pytest.raises(Revoked):
        credentials.check(principal=first)
    credentials.check(principal=second)
    assert first.handles[1] in shut() and second.handles[1] not in shut()


def test_a_third_secret_ends_the_first_whatever_its_overlap(rotate: Rotate, shut: Any) -> None:
    texts = [rotate(), rotate(overlap_s=HOUR), rotate(overlap_s=HOUR)]
    with pytest.raises(BadCredentials):
        show(texts[0])
    second = show(texts[1])
    digest = hashlib.sha256(texts[0].encode()).hexdigest()
    assert agents.door("default", EDGE_1, digest) in shut()
    assert second.handles[1] not in shut()


def test_who_came_in_before_an_overlap_is_shut_out_after_it(rotate: Rotate, shut: Any) -> None:
    first = show(rotate())
    rotate(overlap_s=HOUR)
    (told,) = Announcement.objects.filter(event__name=EXPIRES)
    ((targets, (event,)),) = told.said
    assert targets == [addresses.handle(first.handles[1])]
    assert event.data["at"] == pytest.approx(time.time() + HOUR, abs=60)
    assert agent_secrets.end_overlaps() == 0
    credentials.check(principal=first)
    EdgeAgent.objects.update(previous_until=timezone.now())
    with pytest.raises(Revoked):
        credentials.check(principal=first)
    assert agent_secrets.end_overlaps() == 1
    assert first.handles[1] in shut()
    assert agent_secrets.end_overlaps() == 0


def test_an_agent_that_is_shut_out_shows_what_it_likes(
    rotate: Rotate, admin: Principal, shut: Any
) -> None:
    secret = rotate()
    who = show(secret)
    agent_secrets.let_in(principal=admin, agent_id=EDGE_1, active=False)
    assert f"agent:default:{EDGE_1}" in shut()
    with pytest.raises(Revoked):
        credentials.check(principal=who)
    for bearer in (secret, SECRET, token()):
        with pytest.raises(BadCredentials):
            show(bearer)
    agent_secrets.let_in(principal=admin, agent_id=EDGE_1, active=True)
    assert show(secret).id == EDGE_1


def test_an_agent_without_secret_can_be_shut_out_too(admin: Principal, default: Account) -> None:
    who = show(SECRET)
    credentials.check(principal=who)  # never seen, and welcome
    EdgeAgent.objects.create(account=default, agent_id=EDGE_1)
    credentials.check(principal=who)
    agent_secrets.let_in(principal=admin, agent_id=EDGE_1, active=False)
    with pytest.raises(BadCredentials):
        show(SECRET)


def test_only_an_administrator_of_the_account_decides(
    admin: Principal, other_admin: Principal, stranger: Principal, alice: User
) -> None:
    agent_secrets.rotate(principal=admin, agent_id=EDGE_1)
    digest = EdgeAgent.objects.get().secret_digest
    owner = credentials.of_user(user=alice)
    for who in (owner, stranger):
        with pytest.raises(RoleTooLow):
            agent_secrets.rotate(principal=who, agent_id=EDGE_1)
        with pytest.raises(RoleTooLow):
            agent_secrets.let_in(principal=who, agent_id=EDGE_1, active=False)
    with pytest.raises(NotFound):
        agent_secrets.rotate(principal=other_admin, agent_id=EDGE_1, account="default")
    with pytest.raises(NotFound):
        agent_secrets.let_in(principal=other_admin, agent_id=EDGE_1, active=False)
    row = EdgeAgent.objects.get()
    assert (row.secret_digest, row.is_active) == (digest, True)


@pytest.mark.parametrize("agent_id", ["", "a\x00", "x" * 256])
def test_a_secret_is_made_for_an_id_that_can_be_one(rotate: Rotate, agent_id: str) -> None:
    with pytest.raises(InvalidParams, match="agent_id"):
        rotate(agent_id=agent_id)


@pytest.mark.parametrize("overlap_s", [-1, 31 * DAY])
def test_an_overlap_has_its_bounds(rotate: Rotate, overlap_s: float) -> None:
    with pytest.raises(InvalidParams, match="overlap"):
        rotate(overlap_s)


# --- guessing ---


def test_after_ten_failures_of_an_agent_nothing_is_verified() -> None:
    for bearer in [None, "wrong"] * 5:
        with pytest.raises((MissingCredentials, BadCredentials)):
            show(bearer)
    with pytest.raises(TooManyFailures) as refused:
        show(SECRET)
    assert 0 < (refused.value.retry_after_ms or 0) <= 6001  # ten a minute: one in 6 s
    with pytest.raises(TooManyFailures):
        show(SECRET, over_http=True)
    assert show(SECRET, "edge_2").id == "edge_2"
    assert show(SECRET, address="10.0.0.2").id == EDGE_1


def test_who_guesses_under_ever_new_ids_is_stopped_by_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = SimpleNamespace(monotonic=lambda: 0.0, time=time.time)
    monkeypatch.setattr(agents, "time", still)  # guessed faster than the limit refills
    for number in range(99):
        with pytest.raises((MissingCredentials, BadCredentials)):
            show("wrong" if number % 2 else None, f"edge_{number}")
    assert show(SECRET).id == EDGE_1  # up to ten times an agent's limit
    with pytest.raises(BadCredentials):
        show("wrong", "edge_99")
    with capture_logs() as lines, pytest.raises(TooManyFailures) as refused:
        show(SECRET, "edge_100")
    assert 0 < (refused.value.retry_after_ms or 0) <= 601  # a hundred a minute: one in 0.6 s
    assert [line["event"] for line in lines] == ["security.too_many_failures"]
    assert show(SECRET, "edge_100", address="10.0.0.2").id == "edge_100"


def test_who_is_right_is_not_counted() -> None:
    assert {show(SECRET).id for _ in range(20)} == {EDGE_1}


# --- the command ---


def test_the_command_shows_a_secret_once_and_it_opens(db: None) -> None:
    out = StringIO()
    call_command("rotate_agent_secret", EDGE_1, "--overlap", "1h", "--json", stdout=out)
    answer = json.loads(out.getvalue())
    assert set(answer) == {"agent_id", "account", "secret", "previous_until"}
    assert show(answer["secret"]).id == EDGE_1
    assert show(SECRET).id == EDGE_1  # for an hour


def test_the_command_says_what_is_wrong(db: None) -> None:
    for arguments, words in [
        ((EDGE_1, "--account", "nowhere"), "account not found: nowhere"),
        ((EDGE_1, "--overlap", "soon"), "no lifetime"),
    ]:
        with pytest.raises(CommandError, match=words):
            call_command("rotate_agent_secret", *arguments)
