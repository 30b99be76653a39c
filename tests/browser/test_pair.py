"""The pairing page in real Chromium, on a real server. Source: PROTOCOLS.md 2.5; issue 3, Pages."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import House, NewContext
from tests.browser.people import Visitor
from tests.live.client import Client
from tests.services import Serve

pytestmark = [pytest.mark.browser, pytest.mark.live]

RUN_OUT = """
from accounts.models import Pairing
from django.utils import timezone
Pairing.objects.filter(status="pending").update(expires_at=timezone.now())
"""


async def left_s(page: Page) -> int:
    """What the countdown says, in seconds."""
    shown = re.compile(r"^Valid for about (\d+):(\d\d)$")
    await expect(page.get_by_role("timer")).to_have_text(shown)
    said = await page.get_by_role("timer").inner_text()
    found = shown.fullmatch(said)
    assert found, said
    return 60 * int(found[1]) + int(found[2])


async def test_approved_it_moves_on_to_the_console_and_says_later_that_it_is_paired(
    house: House, new_context: NewContext
) -> None:
    context = await new_context(390, 844)
    alice = await Visitor.arrive(context, house.url)
    page, keyboard = alice.page, alice.page.keyboard
    await page.goto(f"{house.url}/pair/?next=//127.0.0.1:9/&token=no&user=eve")
    await page.get_by_label("User id").focus()
    await keyboard.type("alice")
    await keyboard.press("Enter")
    code = await alice.code()
    await expect(page.get_by_role("button", name="Copy the code")).to_be_focused()
    await expect(page.locator("#status")).to_have_text("Waiting for approval.")
    assert await page.evaluate("document.documentElement.scrollWidth") == 390

    # Counted from when the code was first shown, not from the last reload.
    first = await left_s(page)
    assert first <= 3600
    await expect(page.get_by_role("timer")).not_to_have_text(re.compile(r" 60:00| 59:5[6-9]"))
    await page.reload()
    assert await alice.code() == code
    assert await left_s(page) <= 3595

    async with Client(house.server.ws_url) as root:
        await root.ask("connect", token=house.key("root"))
        await root.ask("device.pair.approve", code=code)
    await alice.is_in("alice", "operator")
    assert page.url == f"{house.url}/"

    await page.goto(f"{house.url}/pair/")
    await expect(page.get_by_text("This browser is paired already, for alice.")).to_be_visible()
    await page.get_by_role("link", name="To the console").click()
    await alice.is_in("alice", "operator")


async def test_denied_and_run_out_and_full_it_says_what_to_do(
    serve: Callable[..., Serve], new_context: NewContext
) -> None:
    house = House(serve(PAIRING_MAX_PENDING="1"))
    mallory = await Visitor.arrive(await new_context(), house.url)
    await mallory.connect("mallory")
    first = await mallory.code()
    trouble = mallory.page.get_by_role("alert")
    bob = await Visitor.arrive(await new_context(), house.url)
    await bob.connect("bob")
    await expect(bob.page.get_by_role("alert")).to_contain_text("too many browsers wait")

    async with Client(house.server.ws_url) as root:
        await root.ask("connect", token=house.key("root"))
        await root.ask("device.pair.deny", code=first)
        await expect(trouble).to_contain_text("denied")
        await expect(trouble).to_contain_text("Talk to an administrator")
        await mallory.page.reload()
        await expect(mallory.page.get_by_role("button", name="Ask for a code")).to_be_visible()
        pending = (await root.ask("device.pair.list"))["pending"]
        assert pending == [], "a reload asked by itself"

    await mallory.page.get_by_role("button", name="Ask for a code").click()
    assert await mallory.code() != first
    house.server.run("shell", "--no-imports", "-c", RUN_OUT)
    await expect(trouble).to_contain_text("nobody approved it in time")
    await mallory.ask_again()
    await mallory.code()
    await mallory.page.get_by_role("button", name="Cancel").click()
    await mallory.page.goto(house.url)
    await expect(mallory.page.get_by_role("link", name="See the code")).to_be_visible()
