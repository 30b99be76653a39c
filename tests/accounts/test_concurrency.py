"""What many do at once: one winner, no place too many. On SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, Pairing, RefreshFamily, User
from accounts.services import credentials, pairing, tokens
from realtime.core.credentials import ConnectToken
from realtime.core.errors import BadCredentials, GatewayError, NotFound
from realtime.core.principal import Principal
from tests.accounts.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returns or the GatewayError it raises; all start together."""
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        start.wait(20)
        try:
            return call()
        except GatewayError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(50) for future in [pool.submit(one, call) for call in calls]]


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
