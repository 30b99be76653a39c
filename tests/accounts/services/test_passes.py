"""Passes. Source: PROTOCOLS.md 3.2; issue 6, Console."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine

from accounts.services import passes
from realtime.core.credentials import SessionTicket
from realtime.core.errors import BadCredentials
from realtime.core.principal import Principal

ALICE = Principal(
    id="alice",
    role="operator",
    account_id="9d0c",
    scopes=frozenset({"operator.read"}),
    handles=("user:default:alice", "key:7"),
    expires_at=9e9,
    via="api_key",
)


def show(text: str, **fields: Any) -> Principal:
    return passes.at_session(credential=SessionTicket(token=text, **fields))


def test_a_pass_is_who_it_was_issued_to_with_all_that_can_end_it() -> None:
    shown = passes.issue(principal=ALICE)
    assert show(shown) == show(shown, organization="default") == ALICE
    assert show(shown, organization="9d0c") == ALICE


@pytest.mark.django_db
@pytest.mark.parametrize("change", [lambda text: text + "x", lambda text: text[1:], lambda _: ""])
def test_what_was_not_issued_here_is_no_pass(change: Any) -> None:
    with pytest.raises(BadCredentials):
        show(change(passes.issue(principal=ALICE)))


@pytest.mark.django_db
def test_a_pass_is_good_for_a_minute() -> None:
    with time_machine.travel(0, tick=False) as clock:
        shown = passes.issue(principal=ALICE)
        clock.shift(60)
        assert show(shown) == ALICE
        clock.shift(1)
        with pytest.raises(BadCredentials):
            show(shown)


def test_a_pass_is_of_its_account_and_for_who_watches() -> None:
    shown = passes.issue(principal=ALICE)
    with pytest.raises(BadCredentials, match="organization"):
        show(shown, organization="other")
    with pytest.raises(BadCredentials, match="who watches"):
        show(shown, works=True)
