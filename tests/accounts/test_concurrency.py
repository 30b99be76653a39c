"""What many do at once: one winner, no place too many. On SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.utils import timezone

from accounts.models import Account, Pairing, RefreshFamily, User
from accounts.services import credentials, pairing, tokens
from realtime.core.credentials import ConnectToken
from realtime.core.errors import BadCredentials, GatewayError, NotFound, Revoked
from realtime.core.principal import Principal
from realtime.models import Announcement
from tests.accounts.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returns or the GatewayError it raises; all start together."""
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        start.wait(60)
        try:
            return call()
        except GatewayError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(150) for future in [pool.submit(one, call) for call in calls]]


def test_of_fifty_refreshes_of_one_token_exactly_one_wins() -> None:
    alice = person("alice", Account.default(), "operator")
    old = tokens.issue(user=alice)["refresh"]
    answers = at_once(*[lambda: tokens.refresh(refresh=old)] * 50)
    won = [answer for answer in answers if isinstance(answer, dict)]
    assert len(won) == 1
    assert sum(isinstance(answer, BadCredentials) for answer in answers) == 49
    assert RefreshFamily.objects.get().revoked_at
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=won[0]["refresh"])


def waiting(address: str = "10.0.0.1", **fields: Any) -> Any:
    return credentials.connect(credential=ConnectToken(address=address, **fields))


@pytest.mark.parametrize("verbs", [("approve", "approve"), ("approve", "deny")])
def test_two_admins_at_once_come_to_one_decision(verbs: tuple[str, str]) -> None:
    Account.default()
    code = waiting().code
    bosses = [Principal(id=name, role="admin") for name in ("anna", "bert")]
    calls = [
        lambda boss=boss, verb=verb: getattr(pairing, verb)(principal=boss, code=code)
        for boss, verb in zip(bosses * 4, verbs * 4, strict=True)
    ]
    answers = at_once(*calls)
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    assert sum(isinstance(answer, NotFound) for answer in answers) == 7
    row = Pairing.objects.get()
    won = next(index for index, answer in enumerate(answers) if isinstance(answer, dict))
    assert row.decided_by == bosses[won % 2].id
    assert row.status == {"approve": "approved", "deny": "denied"}[verbs[won % 2]]


def test_of_two_admins_at_once_the_one_who_decided_is_in_the_history_alone() -> None:
    default = Account.default()
    code = waiting().code
    anna, bert = (person(name, default, "admin") for name in ("anna", "bert"))
    bosses = [credentials.of_user(user=user) for user in (anna, bert)]
    calls = [lambda boss=boss: pairing.approve(principal=boss, code=code) for boss in bosses * 4]
    answers = at_once(*calls)
    won = [index for index, answer in enumerate(answers) if isinstance(answer, dict)]
    assert len(won) == 1
    entry = LogEntry.objects.get()
    assert entry.user == (anna, bert)[won[0] % 2]
    assert entry.change_message.startswith("approved by ")
    told = [
        event.name for row in Announcement.objects.all() for _, said in row.said for event in said
    ]
    assert told.count("device.pair.resolved") == 1


def test_an_approval_never_means_somebody_who_claimed_the_request_meanwhile() -> None:
    Account.default()
    anna = Principal(id="anna", role="admin")
    for turn in range(5):
        first = waiting(f"10.0.1.{turn}", user_id=f"alice-{turn}")
        decided, claimed = at_once(
            lambda first=first: pairing.approve(principal=anna, code=first.code),
            lambda turn=turn, first=first: waiting(
                f"10.0.1.{turn}", user_id=f"mallory-{turn}", sender_id=first.sender_id
            ),
        )
        assert not Pairing.objects.filter(
            user_id=f"mallory-{turn}", status=Pairing.Status.APPROVED
        ).exists()
        if isinstance(decided, dict) and isinstance(claimed, Principal):
            assert claimed.id == f"alice-{turn}", "the approved device comes as who was approved"
        elif isinstance(decided, dict):
            assert claimed.code != first.code
        else:
            assert isinstance(decided, NotFound)


def test_a_request_that_runs_out_while_it_is_decided_has_one_end() -> None:
    Account.default()
    anna = Principal(id="anna", role="admin")
    for turn in range(5):
        made = waiting(f"10.0.2.{turn}", user_id=f"alice-{turn}")
        Pairing.objects.filter(code=made.code).update(expires_at=timezone.now())
        answers = at_once(
            lambda code=made.code: pairing.approve(principal=anna, code=code), pairing.expire
        )
        assert isinstance(answers[0], NotFound)
        assert answers[1] == 1
        assert Pairing.objects.get(code=made.code).status == Pairing.Status.EXPIRED


def test_a_device_revoked_while_it_comes_in_is_not_left_inside() -> None:
    """Whoever got in before the revocation finds out when it looks again, after joining."""
    Account.default()
    anna = Principal(id="anna", role="admin")
    made = waiting()
    pairing.approve(principal=anna, code=made.code)
    *comers, revoked = at_once(
        *[lambda n=n: waiting(f"10.0.0.{n}", sender_id=made.sender_id) for n in range(6)],
        lambda: pairing.revoke(principal=anna, sender_id=made.sender_id),
    )
    assert revoked == {"revoked": True}
    for comer in comers:
        if isinstance(comer, Principal):
            with pytest.raises(Revoked):
                credentials.check(principal=comer)
        else:
            assert comer.sender_id != made.sender_id


def test_twelve_browsers_at_once_get_three_places() -> None:
    Account.default()
    answers = at_once(*[lambda n=n: waiting(user_id=f"u{n}") for n in range(12)])
    assert sum(isinstance(answer, BadCredentials) for answer in answers) == 9
    assert Pairing.objects.count() == 3


def test_the_total_holds_for_many_addresses_at_once(settings: Any) -> None:
    settings.PAIRING_MAX_PENDING_TOTAL = 5
    Account.default()
    answers = at_once(*[lambda n=n: waiting(f"10.0.0.{n}") for n in range(12)])
    assert sum(isinstance(answer, BadCredentials) for answer in answers) == 7
    assert Pairing.objects.count() == 5


def test_two_first_claims_of_a_nameless_device_bind_one_user() -> None:
    Account.default()
    made = waiting()
    pairing.approve(principal=Principal(id="anna", role="admin"), code=made.code)
    answers = at_once(
        *[lambda n=n: waiting(user_id=f"u{n % 2}", sender_id=made.sender_id) for n in range(8)]
    )
    assert len({answer.id for answer in answers}) == 1
    assert answers[0].id == Pairing.objects.get().user_id


def test_logging_out_everywhere_at_once_loses_no_step() -> None:
    alice = person("alice", Account.default(), "operator")
    at_once(*[lambda: tokens.revoke_all(user=User.objects.get(pk=alice.pk))] * 8)
    alice.refresh_from_db()
    assert alice.session_epoch == 8
