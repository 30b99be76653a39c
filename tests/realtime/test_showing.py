"""Hints to the open admin pages: few, whole, and for the right accounts."""

from __future__ import annotations

import asyncio

import pytest

from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.showing import EVERY_S, Showing

ACCOUNTS = ("default", "other")


@pytest.fixture
async def heard():
    return {name: [] for name in (*ACCOUNTS, "every")}


@pytest.fixture
async def showing(heard):
    hub = Hub()
    for account in ACCOUNTS:
        await hub.join(addresses.pages(account), heard[account].append)
    await hub.join(addresses.every_page(), heard["every"].append)
    return Showing(hub)


async def test_a_thousand_changes_are_one_hint_to_each_page(showing, heard):
    for _ in range(1000):
        showing.touch(["default"])
        showing.touch(["other"])
    await showing.next()
    await showing.tell()
    assert {name: len(hints) for name, hints in heard.items()} == {
        "default": 1,
        "other": 1,
        "every": 1,
    }


async def test_an_account_where_nothing_changed_hears_nothing(showing, heard):
    showing.touch(["default"])
    await showing.tell()
    await showing.tell()
    assert (len(heard["default"]), heard["other"], len(heard["every"])) == (1, [], 1)
    assert heard["default"][0].data == {"what": "connections"}


async def test_there_are_four_hints_a_second_at_most(showing):
    clock = asyncio.get_running_loop().time
    began = clock()
    for _ in range(3):
        showing.touch(["default"])
        await asyncio.wait_for(showing.next(), 30)
        await showing.tell()
    assert clock() - began >= 3 * EVERY_S - 0.01
    assert EVERY_S == 1 / 4


async def test_without_a_change_there_is_nothing_to_wait_for_less(showing):
    showing.touch([])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(showing.next(), EVERY_S * 1.5)
