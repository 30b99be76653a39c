"""A command from the admin to the example agent, in real Chromium, watched without a reload."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import House, NewContext
from tests.browser.test_admin import List, boss_at
from tests.services.gateway import ROOT, clean_environment
from tests.services.process import Service

pytestmark = [pytest.mark.browser, pytest.mark.live]

CLIENT = ROOT / "clients" / "python"
COMMANDS = "/admin/sessions_app/scheduledcommand/"
BULKS = "/admin/sessions_app/bulksend/"
AGENTS = "/admin/accounts/edgeagent/"
NAME = "edge_15551234567"


class Example(Service):
    """`clients/python/examples/edge_agent.py`, as a person starts it."""

    def __init__(self, url: str, secret: str, name: str = NAME) -> None:
        super().__init__()
        self._arguments = [url, name, str(self.folder / "ledger.sqlite3")]
        self._secret = secret

    def command(self) -> Sequence[str]:
        return [sys.executable, str(CLIENT / "examples" / "edge_agent.py"), *self._arguments]

    def environment(self) -> dict[str, str]:
        return clean_environment({"EDGE_SECRET": self._secret, "PYTHONPATH": str(CLIENT)})

    def working_folder(self) -> Path:
        return self.folder

    def ready(self) -> bool:
        return True


@pytest.fixture
def example(house: House) -> Iterator[Callable[..., Example]]:
    """`example()`: the agent, with the secret that every agent may show; ended with the test."""
    started: list[Example] = []

    def start() -> Example:
        ws = house.url.replace("http", "ws", 1)
        started.append(Example(ws, house.server.environ["EDGE_SECRET"]))
        return started[-1].start()

    yield start
    for agent in started:
        agent.close()


async def fill(page: Page, **fields: str) -> None:
    """The fields by their labels, then Send."""
    for label, value in fields.items():
        await page.get_by_label(f"{label.replace('_', ' ')}:", exact=True).fill(value)
    await page.get_by_role("button", name="Send", exact=True).click()


def kinds(page: Page) -> Locator:
    return page.locator(".timeline .kind")


def meaning(page: Page) -> Locator:
    """What stands beside the state of a command."""
    return page.locator(".standing .means")


async def test_a_command_is_watched_on_its_way_to_an_agent_that_wakes(
    house: House, new_context: NewContext, example: Callable[..., Example]
) -> None:
    queue = await boss_at(house, new_context, COMMANDS)
    await queue.open()
    agents = List(await queue.page.context.new_page(), house.url + AGENTS)
    page = await queue.page.context.new_page()
    await page.goto(f"{house.url}{COMMANDS}add/?agent_id={NAME}")
    payload = (
        '{"thread_id": "t", "message_text": "good morning 💙", "send_at": "2025-11-15T18:30:00Z"}'
    )
    await fill(page, Command_type="schedule_message", Payload=payload)
    await expect(kinds(page)).to_have_text(["scheduled"])
    await expect(page.locator("#live")).to_have_text("Live")
    await expect(meaning(page)).to_have_text("waits for its agent, which is offline")
    await agents.open()
    await expect(agents.row(NAME)).to_contain_text("offline")
    for tab in (queue.page, agents.page, page):
        await tab.evaluate("window.same = true")

    agent = example()  # it wakes
    steps = ["scheduled", "leased", "delivered", "completed", "executed"]
    await expect(kinds(page)).to_have_text(steps)
    await expect(page.locator(".standing .state")).to_have_text("completed")
    await expect(meaning(page)).to_have_text("the agent has done it")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    await expect(queue.row("schedule_message")).to_contain_text("completed")
    await expect(agents.row(NAME)).to_contain_text("online")
    assert "to t: good morning 💙" in agent.log()

    await page.goto(f"{house.url}{COMMANDS}add/?agent_id={NAME}")
    await fill(page, Command_type="set_rule", Payload='{"rule_type": "filter"}')
    await expect(page.locator(".standing .state")).to_have_text("failed")
    await expect(page.locator(".facts > .said")).to_have_text("Unknown command type: set_rule")
    await expect(queue.row("set_rule")).to_contain_text("failed")

    assert agent.terminate() == 0
    await expect(agents.row(NAME)).to_contain_text("offline")
    await page.get_by_role("button", name="Retry").click()
    await expect(page.locator(".messagelist")).to_contain_text("back into the queue")
    await expect(agents.row(NAME).locator(".field-waiting")).to_have_text("1")
    await expect(queue.page.locator("#backlog strong")).to_have_text("1")
    await queue.row("set_rule").get_by_role("button", name="Cancel").click()
    await expect(queue.page.locator(".messagelist")).to_contain_text("Cancelled")
    await expect(page.locator(".standing .state")).to_have_text("cancelled")
    await expect(agents.row(NAME).locator(".field-waiting")).to_have_text("0")
    assert await agents.page.evaluate("window.same"), "never reloaded"


async def test_taken_over_and_done_are_two_steps_of_an_open_page(
    house: House, new_context: NewContext, example: Callable[..., Example]
) -> None:
    agent = example()
    queue = await boss_at(house, new_context, COMMANDS)
    page = queue.page
    await page.goto(f"{house.url}{COMMANDS}add/?agent_id={NAME}")
    send_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=20)
    payload = {"thread_id": "t", "message_text": "later", "send_at": send_at.isoformat()}
    await fill(page, Command_type="schedule_message", Payload=json.dumps(payload))
    await page.evaluate("window.same = true")
    taken_over = "the agent has taken it over, and says again when it is done"
    await expect(meaning(page)).to_have_text(taken_over)
    assert "to t: later" not in agent.log()
    await expect(meaning(page)).to_have_text("the agent has done it", timeout=60_000)
    await expect(kinds(page)).to_have_text(
        ["scheduled", "leased", "delivered", "completed", "executed"]
    )
    assert "to t: later" in agent.log()
    assert await page.evaluate("window.same"), "never reloaded"


async def test_a_live_part_keeps_what_is_focused_and_a_secret_is_seen_once(
    house: House, new_context: NewContext
) -> None:
    house.server.run("send_command", NAME, "set_rule", "{}")
    shown = await boss_at(house, new_context, AGENTS)
    await shown.open()
    page = shown.page
    await shown.row(NAME).get_by_role("link", name=NAME, exact=True).click()
    await expect(page.locator("#live")).to_have_text("Live")
    await page.get_by_role("button", name=f"Deactivate {NAME}").focus()
    await page.get_by_label("How long").select_option("0")
    await page.get_by_role("button", name=f"Deactivate {NAME}").focus()
    house.server.run("send_command", NAME, "emit_event", "{}")
    await expect(page.locator(".newest")).to_contain_text("emit_event")
    await expect(page.get_by_role("button", name=f"Deactivate {NAME}")).to_be_focused()
    await expect(page.get_by_label("How long")).to_have_value("0")

    await page.get_by_role("button", name=f"Rotate {NAME}").click()
    await expect(page.locator(".messagelist")).to_contain_text("shown this once: gwe_")
    await page.reload()
    assert "gwe_" not in await page.content()
    await page.get_by_role("button", name=f"Deactivate {NAME}").press("Enter")
    await expect(page.locator(".standing .state")).to_have_text("shut out")


async def test_many_agents_without_scripts_on_a_telephone(
    house: House, new_context: NewContext
) -> None:
    for number in range(3):
        house.server.run("send_command", f"edge_{number}", "emit_event", "{}")
    options = {"width": 390, "height": 844, "java_script_enabled": False}
    shown = await boss_at(house, new_context, COMMANDS, **options)
    page = shown.page
    await page.goto(shown.url)
    cancel = shown.row("edge_2").get_by_role("button", name="Cancel")
    size = await cancel.bounding_box()
    assert size and size["height"] >= 44 and size["x"] + size["width"] <= 390
    await cancel.click()
    await expect(shown.row("edge_2")).to_contain_text("cancelled")

    await page.get_by_role("link", name="Send to many").click()
    await fill(page, Agents="edge_*", Command_type="set_rule")
    # The page reads itself again until it is done.
    await expect(page.locator(".facts")).to_contain_text("3 queued")
    await expect(page.locator(".facts")).to_contain_text("Done.")
    await expect(page.locator("progress")).to_have_attribute("value", "3")
    await page.get_by_role("link", name="See the queue").click()
    await expect(page.locator("#result_list tbody tr")).to_have_count(3)
    await page.goto(house.url + BULKS)
    await expect(shown.row("set_rule to edge_*")).to_contain_text("3 of 3")
