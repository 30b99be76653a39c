"""The page of sessions as somebody sees it, and what a worker says there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import PASSWORD, House
from tests.live.worker import Worker

ASKED = {"command": "rm -r build", "description": "Clean up"}


@dataclass
class Reader:
    """Somebody at the page of sessions."""

    page: Page

    @classmethod
    async def arrive(
        cls,
        context: BrowserContext,
        url: str,
        who: str,
        session: str = "",
        password: str = PASSWORD,
    ) -> Reader:
        page = await context.new_page()
        await page.goto(f"{url}/sessions/#{session}")
        await page.get_by_label("User id").fill(who)
        await page.get_by_label("Password").fill(password)
        await page.get_by_role("button", name="Connect").click()
        reader = cls(page)
        if session:
            await reader.is_in(who)
        return reader

    @classmethod
    async def with_key(cls, context: BrowserContext, house: House, who: str, name: str) -> Reader:
        """At the session of this name, with a key."""
        page = await context.new_page()
        await page.goto(f"{house.url}/sessions/#{quote(name)}")
        await page.get_by_label("User id").fill(who)
        await page.get_by_text("instead").click()
        await page.locator("#token").fill(house.key(who))
        await page.get_by_role("button", name="Connect").click()
        reader = cls(page)
        await reader.is_in(who)
        return reader

    async def choose(self, action: str) -> None:
        """In the session's menu."""
        await self.page.locator("#chat-menu summary").click()
        await self.button(action).click()

    async def is_in(self, who: str) -> None:
        await expect(self.page.locator("#state")).to_have_text(who)
        await expect(self.page.locator("#measure")).to_be_visible()

    async def say(self, text: str) -> None:
        message = self.page.get_by_label("Message", exact=True)
        await message.fill(text)
        await message.press("Enter")

    @property
    def items(self) -> Locator:
        return self.page.locator("#messages > ol > li")

    @property
    def line(self) -> Locator:
        return self.page.get_by_role("region", name="Connection")

    @property
    def question(self) -> Locator:
        return self.page.get_by_role("region", name="May it use Bash?")

    @property
    def notice(self) -> Locator:
        return self.page.locator("#notice")

    @property
    def hint(self) -> Locator:
        return self.page.locator("#waits")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)


async def ask(worker: Worker, request_id: str, **given: Any) -> None:
    request = {"subtype": "can_use_tool", "tool_name": "Bash", "tool_use_id": "t1", "input": given}
    await worker.send({"type": "control_request", "request_id": request_id, "request": request})


async def use_tool(worker: Worker, uuid: str, **given: Any) -> None:
    content = [
        {"type": "text", "text": "I **clean up** first."},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": given},
    ]
    said = {"id": f"m-{uuid}", "role": "assistant", "content": content}
    await worker.send({"type": "assistant", "uuid": uuid, "message": said})


async def tool_says(worker: Worker, uuid: str, text: str) -> None:
    content = [{"type": "tool_result", "tool_use_id": "t1", "content": text}]
    said = {"role": "user", "content": content}
    await worker.send({"type": "user", "uuid": uuid, "message": said})


async def answered(worker: Worker, request_id: str) -> dict[str, Any]:
    frame = await worker.frame(
        lambda f: f["type"] == "control_response" and f["response"]["request_id"] == request_id
    )
    response: dict[str, Any] = frame["response"]["response"]
    return response
