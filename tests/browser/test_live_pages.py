"""The pages of topics and of groups. Source: issue 5; PROTOCOLS.md 4, 5."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import PASSWORD, House, NewContext, Watch
from tests.browser.test_every_page import judge
from tests.services import Serve

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.timeout(150)]

GIVE_PASSWORDS = f"""
from django.contrib.auth.hashers import make_password
from accounts.models import User
from accounts.services import people
people.create(username="dora", password=None, role="viewer", account="default")
User.objects.update(password=make_password({PASSWORD!r}))
"""


LOG_ALICE_OUT = """
from accounts.models import User
from accounts.services import tokens
tokens.revoke_all(user=User.objects.get(username="alice"))
"""


@pytest.fixture(scope="module")
def server(serve_for_module: Callable[..., Serve]) -> Serve:
    """One for all: nobody here is in another's way."""
    return with_passwords(serve_for_module(database="sqlite"))


@pytest.fixture
def house(server: Serve) -> House:
    return House(server)


def with_passwords(server: Serve) -> Serve:
    """People log in here by name and password."""
    server.run("shell", "--no-imports", "-c", GIVE_PASSWORDS)
    return server


@dataclass
class Live:
    """Somebody at one of the two pages."""

    page: Page

    @classmethod
    async def arrive(cls, context: BrowserContext, url: str) -> Live:
        page = await context.new_page()
        await page.goto(url)
        return cls(page)

    @classmethod
    async def topics(cls, context: BrowserContext, house: House, who: str) -> Live:
        live = await cls.arrive(context, f"{house.url}/topics/")
        await live.log_in(who)
        await expect(live.state).to_have_text(who)
        return live

    @classmethod
    async def group(cls, context: BrowserContext, house: House, who: str, client: str) -> Live:
        live = await cls.arrive(context, f"{house.url}/groups/")
        await live.page.get_by_label("Group", exact=True).fill("team ü/1")
        await live.page.locator("#client").fill(client)
        await live.log_in(who)
        await expect(live.state).to_have_text(f"{client} in team ü/1")
        return live

    async def log_in(self, who: str, password: str = PASSWORD) -> None:
        await self.page.get_by_label("User id").fill(who)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Connect").click()

    async def show(self, token: str) -> None:
        """Come in with a token or a key instead of a password."""
        await self.page.get_by_text("instead").click()
        await self.page.locator("#token").fill(token)
        await self.page.get_by_role("button", name="Connect").click()

    async def subscribe(self, channel: str, filters: str = "") -> None:
        await self.page.get_by_label("Channel", exact=True).fill(channel)
        await self.page.get_by_label("Filter").fill(filters)
        await self.page.get_by_role("button", name="Subscribe").click()

    async def publish(self, channel: str, data: Any) -> None:
        await self.page.get_by_label("On channel").fill(channel)
        await self.page.get_by_label("Data").fill(json.dumps(data))
        await self.page.get_by_role("button", name="Publish").click()

    async def say(self, target: str, text: str, to: str = "") -> None:
        await self.page.get_by_label("To", exact=True).select_option(target)
        if target == "direct":
            await self.page.get_by_label("To which client").fill(to)
        await self.page.get_by_placeholder("Write a message").fill(text)
        await self.page.get_by_role("button", name="Send").click()

    @property
    def state(self) -> Locator:
        return self.page.locator("#state")

    @property
    def heard(self) -> Locator:
        return self.page.locator("#heard li")

    @property
    def problem(self) -> Locator:
        return self.page.locator("#problem")


# --- topics ---


def points(count: int) -> re.Pattern[str]:
    """That many points of a curve, as its attribute writes them."""
    return re.compile(rf"^\S+( \S+){{{count - 1}}}$")


async def test_the_chart_of_telemetry_moves_as_numbers_are_published(
    house: House, new_context: NewContext
) -> None:
    alice = await Live.topics(await new_context(), house, "alice")
    curve, now = alice.page.locator("#chart .curve"), alice.page.locator("#now")
    await expect(alice.page.get_by_label("Field")).to_be_disabled()
    house.server.run("publish", "telemetry", '{"cpu": 7, "disk": {"free": 20}, "host": "a1"}')
    await expect(now).to_have_text("7")
    await alice.publish("telemetry", {"cpu": 9.5, "disk": {"free": 10}})
    await expect(now).to_have_text("9.5")
    await expect(curve).to_have_attribute("points", points(2))
    house.server.run("publish", "telemetry", '{"cpu": 3}')
    await expect(now).to_have_text("3")
    await expect(curve).to_have_attribute("points", points(3))
    words = alice.page.locator("#chart-text")
    await expect(words).to_contain_text("cpu: lowest 3, highest 9.5, 3 values")

    await expect(alice.page.locator("#field option")).to_have_text(["cpu", "disk.free"])
    await alice.page.get_by_label("Field").select_option("disk.free")
    await expect(now).to_have_text("10")
    await expect(words).to_contain_text("disk.free: lowest 10, highest 20, 2 values")

    await alice.publish("telemetry", {"bytes": 12_000_000_000})
    await alice.page.get_by_label("Field").select_option("bytes")
    await expect(alice.page.locator("#chart text")).to_have_text(["10.8B", "12B", "13.2B"])


async def test_what_fits_a_filter_is_heard_until_the_subscription_ends(
    house: House, new_context: NewContext
) -> None:
    alice = await Live.topics(await new_context(), house, "alice")
    await alice.subscribe("room", '{"agent_id": "a1"}')
    told = 'Subscribed to room {"agent_id":"a1"}.'
    await expect(alice.page.locator("#notice")).to_have_text(told)
    bob = await Live.topics(await new_context(), house, "bob")
    carol = await Live.topics(await new_context(), house, "carol")
    await carol.subscribe("room")
    await expect(carol.page.locator("#notice")).to_have_text("Subscribed to room.")
    await bob.publish("room", {"agent_id": "a2"})
    await bob.publish("room", {"agent_id": "a1", "say": "<b>hi</b>"})
    await expect(alice.heard).to_have_count(1)
    await expect(alice.heard).to_contain_text("bob")
    await expect(alice.heard.locator("code")).to_have_text('{"agent_id":"a1","say":"<b>hi</b>"}')
    await expect(alice.page.locator("#subscriptions output")).to_have_text("1")

    await alice.page.get_by_role("button", name="End the subscription").click()
    await expect(alice.page.locator("#subscriptions li")).to_have_count(0)
    await bob.publish("room", {"agent_id": "a1"})
    await (
        alice.page.get_by_role("button", name="Round-trip")
        .or_(alice.page.locator("#measure"))
        .first.click()
    )
    await expect(alice.heard).to_have_count(1)
    await expect(carol.heard).to_have_count(0)


async def test_what_is_no_json_is_said_beside_its_field(
    house: House, new_context: NewContext
) -> None:
    alice = await Live.topics(await new_context(), house, "alice")
    await alice.subscribe("room", "agent_id=a1")
    await expect(alice.page.locator("#filters-problem")).to_contain_text("A filter is a JSON")
    await alice.subscribe("room", "[1]")
    await expect(alice.page.locator("#filters-problem")).to_have_text("A filter is a JSON object")
    await expect(alice.page.get_by_label("Filter")).to_be_focused()
    await expect(alice.page.locator("#subscriptions li")).to_have_count(0)
    await alice.page.get_by_label("Data").fill("{")
    await alice.page.get_by_role("button", name="Publish").click()
    await expect(alice.page.locator("#payload-problem")).to_contain_text("This is not JSON")


async def test_a_subscription_that_the_server_refuses_is_told(
    house: House, new_context: NewContext
) -> None:
    made = house.server.run("issue_nexus_token", "usr_1", "--role", "agent", "--json")
    someone = await Live.arrive(await new_context(), f"{house.url}/topics/")
    await someone.show(json.loads(made)["token"])
    await expect(someone.state).to_have_text("usr_1")
    await someone.subscribe("agent.a1.commands")
    await expect(someone.page.locator("#notice")).to_contain_text("operator role")


# --- the door ---


@pytest.mark.parametrize("path", ["topics", "groups"])
async def test_who_is_not_let_in_reads_why_and_may_try_again(
    path: str, house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected += ["WebSocket connection to", "Failed to load resource"]
    live = await Live.arrive(await new_context(), f"{house.url}/{path}/")
    if path == "groups":
        await live.page.get_by_label("Group", exact=True).fill("team")
        await live.page.locator("#client").fill("laptop")
    await live.log_in("alice", "wrong")
    await expect(live.problem).to_contain_text("no active user with this name and password")
    await live.show("nonsense")
    await expect(live.problem).to_contain_text("the handshake was refused")
    await expect(live.state).to_have_text("Not connected")
    await live.page.locator("#token").fill("")
    await live.log_in("alice")
    await expect(live.page.locator("#room")).to_be_visible()
    if path == "groups":
        await live.say("group", "for us only")
    else:
        await live.subscribe("telemetry")
        await live.publish("telemetry", {"secret": 7})
    await expect(live.heard).to_have_count(1)
    await live.page.get_by_role("button", name="Disconnect").click()
    await expect(live.page.locator("#door")).to_be_visible()
    kept = await live.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    shown = await live.page.locator("body").evaluate("body => body.textContent")
    assert "us only" not in shown and "secret" not in shown, "the next one here reads nothing of it"
    assert PASSWORD not in kept and "eyJ" not in kept


@pytest.mark.parametrize("path", ["topics", "groups", "sessions"])
async def test_a_form_waits_for_its_script_and_puts_nothing_into_the_address(
    path: str, house: House, new_context: NewContext
) -> None:
    context = await new_context(java_script_enabled=False)
    page = (await Live.arrive(context, f"{house.url}/{path}/")).page
    await expect(page.get_by_role("button", name="Connect")).to_be_disabled()
    await expect(page.locator("#connect [name]")).to_have_count(0)


async def test_a_key_is_a_way_into_a_group_with_the_space_that_was_copied_with_it(
    house: House, new_context: NewContext
) -> None:
    live = await Live.arrive(await new_context(), f"{house.url}/groups/")
    await live.page.get_by_label("Group", exact=True).fill("team")
    await live.page.locator("#client").fill("keyring")
    await live.show(f" {house.key('bob')} ")
    await expect(live.state).to_have_text("keyring in team")


TIME_FLIES = """
const real = Date.now;
globalThis.late = 0;
Date.now = () => real() + globalThis.late;
"""


async def test_a_token_that_ends_is_replaced_and_whoever_is_logged_out_is_told(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected += ["WebSocket connection to", "/api/auth/token/refresh/"]
    live = await Live.arrive(await new_context(), f"{house.url}/topics/")
    await live.page.evaluate(TIME_FLIES)
    await live.log_in("alice")
    await expect(live.state).to_have_text("alice")
    await live.page.evaluate("globalThis.late = 300_000")
    house.server.kill()
    await expect(live.page.locator("#line-text")).to_have_text("The connection is lost.")
    async with live.page.expect_response("**/api/auth/token/refresh/", timeout=60_000):
        house.server.start()
    await expect(live.state).to_have_text("alice")

    await live.page.evaluate("globalThis.late = 600_000")
    house.server.run("shell", "--no-imports", "-c", LOG_ALICE_OUT)
    await expect(live.problem).to_have_text("You were logged out. Log in again.")
    await expect(live.page.locator("#room")).to_be_hidden()


# --- groups ---


async def test_alice_and_bob_talk_in_a_group_and_the_stranger_sees_nothing(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("status of 403")  # who only reads is not told who is here
    alice = await Live.group(await new_context(), house, "alice", "laptop")
    bob = await Live.group(await new_context(), house, "bob", "phone")
    carol = await Live.group(await new_context(), house, "carol", "phone")

    await alice.say("group", "hello <b>team</b>")
    await expect(bob.heard).to_have_count(1)
    await expect(bob.heard.locator(".text")).to_have_text("hello <b>team</b>")
    await expect(alice.heard).to_have_attribute("data-kind", "mine")
    await bob.say("direct", "psst", to="laptop")
    await expect(alice.heard.last).to_contain_text("phone to you psst")
    await expect(bob.heard).to_have_count(1)
    await alice.say("echo", "only me")
    await expect(alice.heard.last).to_contain_text("back to you only me")
    await bob.say("broadcast", "all of you")
    await expect(alice.heard.last).to_contain_text("to everyone all of you")
    await expect(bob.heard).to_have_count(2)

    dora = await Live.group(await new_context(), house, "dora", "tablet")
    await dora.say("broadcast", "all of you, too")
    await expect(dora.page.locator("#heard [data-kind=error]")).to_contain_text("operator role")
    await expect(dora.page.locator("#members-problem")).to_contain_text("operator role")
    before = await carol.page.evaluate("performance.now()")
    await carol.page.locator("#measure").click()
    await expect(carol.page.locator("#rtt")).to_have_text(re.compile(r"^\d+ ms$"))
    within = await carol.page.evaluate("performance.now()") - before
    assert int((await carol.page.locator("#rtt").inner_text()).split()[0]) <= within
    await expect(carol.heard).to_have_count(0)


async def test_who_is_here_follows_those_who_come_and_go(
    serve: Callable[..., Serve], new_context: NewContext
) -> None:
    house = House(with_passwords(serve(AETHER_ANNOUNCE_PRESENCE="on")))
    alice = await Live.group(await new_context(), house, "alice", "laptop")
    members = alice.page.locator("#members li")
    await expect(members).to_have_text(["laptop alice · you"])
    carol = await Live.group(await new_context(), house, "carol", "laptop")
    context = await new_context()
    bob = await Live.group(context, house, "bob", "phone")
    await expect(members).to_have_text(["laptop alice · you", "phone bob"], timeout=12_000)
    await expect(alice.heard.last).to_contain_text("phone online")
    await expect(bob.page.locator("#members li")).to_have_count(2)
    await expect(carol.page.locator("#members li")).to_have_text(["laptop carol · you"])

    await members.get_by_role("button", name="phone").click()
    await expect(alice.page.get_by_label("To which client")).to_have_value("phone")
    await alice.page.get_by_placeholder("Write a message").fill("psst")
    await alice.page.keyboard.press("Enter")
    await expect(bob.heard.last).to_contain_text("laptop to you psst")
    await context.close()
    await expect(members).to_have_text(["laptop alice · you"], timeout=12_000)


# --- looks ---


@pytest.mark.parametrize("page", ["topics", "groups"])
async def test_in_use_the_pages_are_clean_and_fit(
    page: str, house: House, new_context: NewContext
) -> None:
    if page == "topics":
        live = await Live.topics(await new_context(), house, "alice")
        await live.subscribe("telemetry", '{"agent_id": "a1"}')
        for cpu in (3, 9, 4):
            await live.publish("telemetry", {"agent_id": "a1", "cpu": cpu, "note": "w" * 300})
        await expect(live.heard).to_have_count(3)
    else:
        live = await Live.group(await new_context(), house, "alice", "w" * 100)
        await live.say("group", "w" * 300)
        await live.say("direct", "hello", to="nobody")
        await expect(live.page.locator("#notice")).to_have_text("Sent to nobody.")
    assert await judge(live.page, page) == []
