"""The console while the line is down, and after it. Source: issue 3; PROTOCOLS.md 2.12."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import House, NewContext, Watch
from tests.browser.people import Visitor
from tests.live.client import Client

pytestmark = [pytest.mark.browser, pytest.mark.live]


async def test_the_connection_comes_back_by_itself_and_the_history_with_it(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")  # what Chromium says while nobody listens
    alice = await Visitor.enter(await new_context(), house, "alice")
    await alice.say("still here?")
    await alice.hears("still here?", "still here?")
    house.restart(meanwhile_alice_hears="news", in_session=await alice.session_key())
    await alice.is_in("alice", "operator", within_s=60)  # the fifth delay may be 16 s
    await alice.hears("still here?", "still here?", "news")
    await alice.say("again")
    await alice.hears("still here?", "still here?", "news", "again", "again")


async def test_what_is_typed_offline_waits_and_is_said_exactly_once(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    context = await new_context(390, 844)
    alice = await Visitor.enter(context, house, "alice")
    await alice.say("before")
    await alice.hears("before", "before")

    house.server.kill()
    line = alice.page.get_by_role("region", name="Connection")
    await expect(line).to_contain_text("The connection is lost. Trying again")
    await context.set_offline(True)
    await expect(line).to_contain_text("This device seems to be offline")
    await alice.say("one")
    await alice.say("one")  # meant twice
    await alice.say("two")
    await expect(line).to_contain_text("3 messages wait to be sent.")
    mine = alice.page.locator("#messages li[data-role=user]")
    await expect(mine).to_contain_text(["before", *["Waits for the connection"] * 3])
    assert await alice.page.evaluate("document.documentElement.scrollWidth") == 390

    house.server.start()
    await context.set_offline(False)  # it does not wait for the countdown
    await alice.is_in("alice", "operator")
    await expect(line).to_be_hidden()
    await expect(mine.locator("p")).to_have_text(["before", "one", "one", "two"])
    await expect(alice.abort).to_be_hidden()
    await expect(alice.page.locator("#messages .waiting")).to_have_count(0)
    async with Client(house.server.ws_url) as wire:
        await wire.ask("connect", token=house.key("alice"))
        key, said = await alice.session_key(), []
        async with asyncio.timeout(30):
            while len(said) < 4:
                messages = (await wire.ask("chat.history", sessionKey=key))["messages"]
                said = [m["content"] for m in messages if m["role"] == "user"]
    assert said == ["before", "one", "one", "two"]


async def test_what_was_not_sent_is_given_back_when_the_line_is_given_up(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    async with Client(house.server.ws_url) as wire:
        await wire.ask("connect", token=house.key("alice"))
        await wire.ask("chat.send", message="hello")
    alice = await Visitor.enter(await new_context(), house, "alice")
    await alice.sessions.first.click()
    await alice.hears("hello", "hello")
    house.server.kill()
    await alice.say("not yet")
    await alice.page.get_by_role("button", name="New chat").click()
    await alice.say("nor this")
    await expect(alice.messages).to_have_count(1)
    await alice.sessions.first.click()  # whose history cannot be read now
    await expect(alice.messages).to_have_text([re.compile("not yet.*Waits for the connection")])
    await alice.page.get_by_role("button", name="Disconnect").click()
    await expect(alice.messages).to_have_count(0)
    house.server.start()
    await alice.connect("alice", house.key("alice"))
    await expect(alice.page.get_by_label("Message", exact=True)).to_have_value("not yet\nnor this")

    await alice.page.get_by_role("button", name="Disconnect").click()
    await alice.connect("bob", house.key("bob"))  # at the same screen: nothing is left for him
    await expect(alice.page.get_by_label("Message", exact=True)).to_have_value("")
