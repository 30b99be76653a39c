"""Who decides on a pairing, what is told of it, and what time does. Source: PROTOCOLS.md 2.4."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import TRANSITIONS, Pairing, User
from accounts.services import pairing
from realtime.core import addresses
from realtime.core.errors import (
    InvalidParams,
    NotFound,
    RoleTooLow,
)
from realtime.core.principal import ANONYMOUS, Principal
from tests.accounts.conftest import GATEWAY_TOKEN, Ask, Connect
from tests.accounts.services.pairings import SECOND, run_out, state

# --- deciding ---


def test_approval_answers_the_device_and_lets_it_in_for_thirty_days(
    ask: Ask, admin: Principal, told: Any, settings: Any
) -> None:
    waiting = ask(user_agent="Firefox")
    before_ms = int(timezone.now().timestamp() * 1000)
    answer = pairing.approve(principal=admin, code=waiting.code)["paired"]
    assert before_ms <= answer.pop("paired_at") <= before_ms + 60_000
    assert answer == {
        "sender_id": waiting.sender_id,
        "channel": "browser",
        "chat_id": "",
        "paired_by": "operator",
        "metadata": {"user_id": "alice", "address": "10.0.0.1", "user_agent": "Firefox"},
    }
    row = Pairing.objects.get()
    assert row.approved_until - row.decided_at == dt.timedelta(days=30)
    ((targets, event),) = told("device.pair.resolved")
    assert targets == addresses.deciders("default")
    assert event.data == {"action": "approved"}


def test_a_code_is_read_as_people_type_it(ask: Ask, admin: Principal) -> None:
    code = ask().code
    pairing.approve(principal=admin, code=f"  {code.lower()} ")
    assert Pairing.objects.get().status == "approved"


def test_the_label_of_who_approved_never_hides_the_actor(ask: Ask, admin: Principal) -> None:
    answer = pairing.approve(principal=admin, code=ask().code, approved_by="the president")
    assert answer["paired"]["paired_by"] == "the president"
    assert Pairing.objects.get().decided_by == "boss"


def test_denial_says_so(ask: Ask, admin: Principal, told: Any) -> None:
    assert pairing.deny(principal=admin, code=ask().code) == {"denied": True}
    assert told("device.pair.resolved")[0][1].data == {"action": "denied"}


@pytest.mark.parametrize("decide", [pairing.approve, pairing.deny])
def test_a_code_that_is_not_pending_is_not_found(ask: Ask, admin: Principal, decide: Any) -> None:
    approved, denied, late = ask(user_id="a"), ask(user_id="b"), ask(user_id="c")
    pairing.approve(principal=admin, code=approved.code)
    pairing.deny(principal=admin, code=denied.code)
    Pairing.objects.filter(code=late.code).update(expires_at=timezone.now() - SECOND)
    for code in (approved.code, denied.code, late.code, "NOSUCHCO"):
        with pytest.raises(NotFound, match=f"^pairing code {code} not found or expired$"):
            decide(principal=admin, code=code)
    with pytest.raises(InvalidParams, match="^code is required$"):
        decide(principal=admin, code=" ")


@pytest.mark.parametrize("who", ["stranger", "other_admin", "nobody"])
@pytest.mark.parametrize("verb", ["approve", "deny", "revoke"])
def test_only_an_admin_of_the_same_account_decides(
    who: str,
    verb: str,
    ask: Ask,
    paired: Any,
    request: pytest.FixtureRequest,
) -> None:
    principal = ANONYMOUS if who == "nobody" else request.getfixturevalue(who)
    waiting = ask(user_id="carol")
    refusal = NotFound if who == "other_admin" else RoleTooLow
    with pytest.raises(refusal):
        if verb == "revoke":
            pairing.revoke(principal=principal, sender_id=paired.sender_id)
        else:
            getattr(pairing, verb)(principal=principal, code=waiting.code)
    assert state(waiting.sender_id) == "pending"
    assert state(paired.sender_id) == "approved"


def test_the_list_has_what_waits_and_what_is_paired(
    ask: Ask, admin: Principal, paired: Any, stranger: Principal, other_admin: Principal
) -> None:
    waiting = ask(user_id="carol")
    row = Pairing.objects.get(code=waiting.code)
    found = pairing.list_(principal=admin)
    assert found["pending"] == [
        {
            "code": waiting.code,
            "sender_id": waiting.sender_id,
            "channel": "browser",
            "chat_id": "",
            "account_id": "default",
            "created_at": int(row.created_at.timestamp() * 1000),
            "expires_at": int(row.expires_at.timestamp() * 1000),
            "metadata": {"user_id": "carol", "address": "10.0.0.1"},
        }
    ]
    assert [device["sender_id"] for device in found["paired"]] == [paired.sender_id]
    assert pairing.list_(principal=other_admin) == {"pending": [], "paired": []}
    with pytest.raises(RoleTooLow):
        pairing.list_(principal=stranger)


def test_revoking_ends_the_device_and_closes_its_sockets(
    paired: Any, admin: Principal, connect: Connect, shut: Any, told: Any
) -> None:
    row = Pairing.objects.get()
    assert pairing.revoke(principal=admin, sender_id=paired.sender_id) == {"revoked": True}
    assert shut() == {f"device:{row.pk}"}
    assert told("device.pair.resolved")[-1][1].data == {"action": "revoked"}
    assert not isinstance(connect(sender_id=paired.sender_id), Principal)
    with pytest.raises(NotFound):
        pairing.revoke(principal=admin, sender_id=paired.sender_id)


@pytest.mark.parametrize("sender_id", ["", "a b"])
def test_revoking_wants_a_sender_id(admin: Principal, sender_id: str) -> None:
    with pytest.raises(InvalidParams):
        pairing.revoke(principal=admin, sender_id=sender_id)


def test_a_device_of_another_channel_is_another_device(paired: Any, admin: Principal) -> None:
    with pytest.raises(NotFound):
        pairing.revoke(principal=admin, sender_id=paired.sender_id, channel="telegram")


# --- the journal ---


def test_every_decision_names_its_actor_in_the_admin_history(
    ask: Ask, admin: Principal, boss: User, caplog: Any
) -> None:
    approved, denied = ask(user_id="a"), ask(user_id="b")
    pairing.approve(principal=admin, code=approved.code)
    pairing.deny(principal=admin, code=denied.code)
    pairing.revoke(principal=admin, sender_id=approved.sender_id)
    entries = LogEntry.objects.order_by("pk")
    assert [(entry.user, entry.change_message.split(" by ")[0]) for entry in entries] == [
        (boss, "approved"),
        (boss, "denied"),
        (boss, "revoked"),
    ]
    written = "".join(entry.object_repr + entry.change_message for entry in entries)
    assert approved.sender_id not in written


def test_an_actor_without_a_user_is_named_in_the_log(
    ask: Ask, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = ask()
    robot = connect(token=GATEWAY_TOKEN, user_id="robot")
    with caplog.at_level("INFO", logger="gateway"):
        pairing.approve(principal=robot, code=waiting.code)
    (record,) = [r for r in caplog.records if "pairing.decided" in str(r.msg)]
    assert "robot" in str(record.msg) and "approved" in str(record.msg)
    assert waiting.sender_id not in str(record.msg)
    assert not LogEntry.objects.exists()
    assert Pairing.objects.get().decided_by == "robot"


# --- time ---


def test_the_sweep_expires_requests_and_closes_devices(
    ask: Ask, paired: Any, shut: Any, connect: Connect
) -> None:
    ask(user_id="late")
    device = Pairing.objects.get(status="approved")
    assert pairing.expire() == 0
    run_out(expires_at=SECOND, approved_until=SECOND)
    assert pairing.expire() == 2
    assert set(Pairing.objects.values_list("status", flat=True)) == {"expired"}
    assert shut() == {f"device:{device.pk}"}


def test_the_sweep_locks_nothing_while_nothing_is_due(ask: Ask, paired: Any) -> None:
    ask(user_id="waiting")
    with CaptureQueriesContext(connection) as queries:
        assert pairing.expire() == 0
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}


def test_old_refusals_are_forgotten_but_never_a_paired_device(ask: Ask, paired: Any) -> None:
    ask(user_id="late")
    Pairing.objects.filter(user_id="late").update(status="denied")
    run_out(expires_at=dt.timedelta(days=29))
    pairing.expire()
    assert Pairing.objects.count() == 2
    run_out(expires_at=dt.timedelta(days=31))
    pairing.expire()
    assert Pairing.objects.get().status == "approved"


@pytest.mark.parametrize("source", Pairing.Status.values)
@pytest.mark.parametrize("target", Pairing.Status.values)
def test_a_status_moves_only_as_the_table_says(ask: Ask, source: str, target: str) -> None:
    ask()
    Pairing.objects.update(status=source)
    moved = Pairing.objects.all().move(Pairing.Status(target))
    assert bool(moved) == (target in TRANSITIONS[source])
    assert Pairing.objects.get().status == (target if moved else source)
