"""The pairing state machine. Source: PROTOCOLS.md 2.5, 2.6; RELIABILITY PAIR-01..12."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account, Pairing
from accounts.services import pairing
from realtime.core import addresses
from realtime.core.errors import (
    Conflict,
    InvalidParams,
    NotFound,
    ResourceExhausted,
    RoleTooLow,
)
from realtime.core.principal import ANONYMOUS, Principal
from tests.accounts.conftest import ALPHABET, GATEWAY_TOKEN, Ask, Connect
from tests.accounts.services.pairings import SECOND, run_out, state

UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def operator(stranger: Principal) -> Principal:
    return stranger


# --- asking ---


def test_a_code_has_eight_unmistakable_characters_and_an_hour(ask: Ask) -> None:
    waiting = ask()
    assert len(waiting.code) == 8
    assert set(waiting.code) <= ALPHABET
    assert waiting.expires_at == pytest.approx(timezone.now().timestamp() + 3600, abs=60)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", waiting.sender_id)


def test_a_client_never_chooses_its_own_sender_id(ask: Ask) -> None:
    assert ask(sender_id="i-am-alice").sender_id != "i-am-alice"
    assert ask(sender_id=UNKNOWN, user_id="bob").sender_id != UNKNOWN


def test_asking_tells_the_admins_of_that_account_only(ask: Ask, told: Any, other: Account) -> None:
    waiting = ask(tenant="other")
    shown = {"code": waiting.code, "sender_id": waiting.sender_id, "channel": "browser"}
    ((targets, event),) = told()
    assert targets == addresses.deciders("other")
    assert (event.name, event.data) == ("device.pair.requested", {**shown, "chat_id": ""})


def test_coming_back_finds_the_same_request(ask: Ask, told: Any) -> None:
    first = ask()
    assert ask(sender_id=first.sender_id) == first
    assert ask(sender_id=first.sender_id, user_id="") == first
    assert len(told()) == 1


def test_coming_back_is_no_new_request_for_the_limit(ask: Ask) -> None:
    first = ask()
    ask(user_id="b")
    ask(user_id="c")
    assert ask(sender_id=first.sender_id) == first


def test_another_user_id_supersedes_the_request_an_admin_may_be_looking_at(
    ask: Ask, admin: Principal
) -> None:
    first = ask(user_id="alice")
    second = ask(sender_id=first.sender_id, user_id="boss")
    assert second.sender_id != first.sender_id
    with pytest.raises(NotFound):
        pairing.approve(principal=admin, code=first.code)
    assert Pairing.objects.get().user_id == "boss"


def test_an_id_for_a_nameless_request_supersedes_it_too(ask: Ask) -> None:
    first = ask(user_id="")
    assert ask(sender_id=first.sender_id, user_id="boss").code != first.code


def test_another_tenant_hint_supersedes_the_request(ask: Ask, other: Account) -> None:
    first = ask()
    assert ask(sender_id=first.sender_id, tenant="other").code != first.code


def test_superseding_does_not_free_a_second_place(connect: Connect, ask: Ask) -> None:
    first = ask(user_id="a")
    ask(user_id="b")
    ask(user_id="c")
    ask(sender_id=first.sender_id, user_id="d")
    assert Pairing.objects.count() == 3


def test_the_limit_counts_each_address_and_all_together(
    operator: Principal, settings: Any, ask: Ask
) -> None:
    settings.PAIRING_MAX_PENDING_TOTAL = 4
    for name in ("a", "b", "c"):
        ask(user_id=name)
    request = {"principal": operator, "channel": "telegram"}
    with pytest.raises(InvalidParams, match=r"^max pending pairing requests \(3\) exceeded$"):
        pairing.request(**request, sender_id="tg-1", address="10.0.0.1")
    pairing.request(**request, sender_id="tg-1", address="10.0.0.2")
    with pytest.raises(InvalidParams, match=r"\(4\) exceeded"):
        pairing.request(**request, sender_id="tg-2", address="10.0.0.3")


def test_expired_requests_do_not_count(ask: Ask) -> None:
    for name in ("a", "b", "c"):
        ask(user_id=name)
    run_out(expires_at=SECOND)
    ask(user_id="d")


def test_what_a_browser_says_of_itself_is_cut_and_made_readable(ask: Ask) -> None:
    ask(user_agent="<b>\u202eevil\x00\x1b" + "x" * 10_000, address="1" * 200)
    row = Pairing.objects.get()
    assert row.user_agent.startswith("<b>evilx")
    assert (len(row.user_agent), len(row.address)) == (255, 64)


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200b", "\x1b", "\n"])
def test_nobody_is_asked_to_approve_a_name_that_reads_as_another(
    sign: str, ask: Ask, connect: Connect, admin: Principal
) -> None:
    name = f"al{sign}ice"
    with pytest.raises(InvalidParams, match="^user_id takes printable characters only$"):
        ask(user_id=name)
    nameless = ask(user_id="")
    pairing.approve(principal=admin, code=nameless.code)
    with pytest.raises(InvalidParams, match="^user_id takes printable characters only$"):
        connect(sender_id=nameless.sender_id, user_id=name)
    assert Pairing.objects.get().user_id == ""
    assert connect(token=GATEWAY_TOKEN, user_id=name), "who has the token needs no approval"


# --- device.pair.request ---


@pytest.mark.parametrize("field", ["channel", "chat_id", "account_id"])
def test_a_device_request_takes_nothing_that_cannot_be_read(
    operator: Principal, field: str
) -> None:
    asked = {"sender_id": "tg-1", "channel": "telegram", field: "tele\u202egram"}
    with pytest.raises(InvalidParams, match="takes printable characters only$"):
        pairing.request(principal=operator, **asked)


def test_a_device_request_answers_its_code_and_the_same_again(operator: Principal) -> None:
    ask = {"principal": operator, "sender_id": "tg-1", "channel": "telegram", "chat_id": "42"}
    first = pairing.request(**ask, account_id="work")
    assert first == {"code": Pairing.objects.get().code}
    assert pairing.request(**ask) == first
    row = Pairing.objects.get()
    assert (row.account_key, row.chat_id, row.proof) == ("work", "42", False)


@pytest.mark.parametrize(("sender_id", "channel"), [("", "telegram"), ("tg-1", ""), ("", "")])
def test_a_device_request_needs_a_sender_and_a_channel(
    operator: Principal, sender_id: str, channel: str
) -> None:
    with pytest.raises(InvalidParams, match="^senderId and channel are required$"):
        pairing.request(principal=operator, sender_id=sender_id, channel=channel)


@pytest.mark.parametrize("sender_id", ["-x", "a b", "ü", "x" * 129, "a\n"])
def test_a_device_request_refuses_an_odd_sender_id(operator: Principal, sender_id: str) -> None:
    with pytest.raises(InvalidParams, match="^invalid sender_id format$"):
        pairing.request(principal=operator, sender_id=sender_id, channel="telegram")


def test_a_viewer_may_not_request(operator: Principal) -> None:
    viewer = Principal(id="v", role="viewer")
    with pytest.raises(RoleTooLow):
        pairing.request(principal=viewer, sender_id="tg-1", channel="telegram")


def test_a_chosen_browser_id_can_be_approved_but_opens_no_door(
    operator: Principal, admin: Principal, connect: Connect
) -> None:
    made = pairing.request(principal=operator, sender_id="guess-me", channel="browser")
    assert state("guess-me") == "pending"
    pairing.approve(principal=admin, code=made["code"])
    assert state("guess-me") == "approved"
    assert not isinstance(connect(sender_id="guess-me", user_id="boss"), Principal)


def test_a_paired_device_is_not_requested_again_but_an_ended_one_is(
    operator: Principal, admin: Principal
) -> None:
    ask = {"principal": operator, "sender_id": "tg-1", "channel": "telegram"}
    pairing.approve(principal=admin, code=pairing.request(**ask)["code"])
    with pytest.raises(Conflict):
        pairing.request(**ask)
    pairing.revoke(principal=admin, sender_id="tg-1", channel="telegram")
    pairing.approve(principal=admin, code=pairing.request(**ask)["code"])
    run_out(approved_until=SECOND)
    assert pairing.request(**ask)["code"]


# --- status ---


def test_the_status_follows_the_request(ask: Ask, admin: Principal) -> None:
    waiting = ask()
    assert pairing.status(principal=ANONYMOUS, sender_id=waiting.sender_id) == {"status": "pending"}
    pairing.approve(principal=admin, code=waiting.code)
    assert pairing.status(principal=ANONYMOUS, sender_id=waiting.sender_id) == {
        "status": "approved",
        "approved": True,
    }
    run_out(approved_until=SECOND)
    assert state(waiting.sender_id) == "expired"


def test_denied_unknown_and_run_out_all_look_expired(ask: Ask, admin: Principal) -> None:
    denied, late = ask(user_id="a"), ask(user_id="b")
    pairing.deny(principal=admin, code=denied.code)
    Pairing.objects.filter(code=late.code).update(expires_at=timezone.now() - SECOND)
    assert {state(denied.sender_id), state(late.sender_id), state(UNKNOWN)} == {"expired"}


def test_status_wants_a_sender_id(db: None) -> None:
    with pytest.raises(InvalidParams, match="^sender_id is required$"):
        state("")
    with pytest.raises(InvalidParams, match="^invalid sender_id format$"):
        state("a b")


def test_an_address_asks_sixty_times_a_minute_and_no_other_is_held_up(db: None) -> None:
    def ask(address: str) -> None:
        pairing.status(principal=ANONYMOUS, sender_id=UNKNOWN, address=address)

    for _ in range(60):
        ask("10.0.0.1")
    with pytest.raises(ResourceExhausted, match="^rate limited$") as refused:
        ask("10.0.0.1")
    assert refused.value.retry_after_ms
    ask("10.0.0.2")
