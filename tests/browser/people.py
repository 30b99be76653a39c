"""What people do in the browser: someone at the console, an administrator in the Django admin."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import House

CODE = re.compile(r"^[A-HJ-NP-Z2-9]{8}$")  # PROTOCOLS.md 2.5


@dataclass
class Visitor:
    """Someone at the console."""

    page: Page
    url: str

    @classmethod
    async def arrive(cls, context: BrowserContext, url: str, *, query: str = "") -> Visitor:
        page = await context.new_page()
        await page.goto(f"{url}/{query}")
        return cls(page, url)

    @classmethod
    async def enter(
        cls, context: BrowserContext, house: House, name: str, role: str = "operator"
    ) -> Visitor:
        """At the console and in, with a key of this person's own."""
        visitor = await cls.arrive(context, house.url)
        await visitor.connect(name, house.key(name))
        await visitor.is_in(name, role)
        return visitor

    async def connect(self, user: str, token: str = "") -> None:
        """In with a token; without one to the pairing page, which shows a code."""
        await self.page.get_by_label("User id").fill(user)
        await self.page.get_by_label("Gateway token").fill(token)
        name = "Connect" if token else "Pair this browser"
        await self.page.get_by_role("button", name=name).click()

    async def ask_again(self) -> None:
        """On the pairing page, after a refusal."""
        await self.page.get_by_role("button", name="Ask again").click()

    async def code(self) -> str:
        code = self.page.get_by_label("Pairing code")
        await expect(code).to_be_visible()
        await expect(code).to_have_text(CODE)
        return await code.inner_text()

    async def is_in(self, user: str, role: str, *, within_s: float = 30) -> None:
        state = self.page.locator("#state")
        await expect(state).to_have_text(f"{user} · {role}", timeout=within_s * 1000)

    async def say(self, text: str) -> None:
        message = self.page.get_by_label("Message", exact=True)
        await message.fill(text)
        await message.press("Enter")

    async def hears(self, *messages: str) -> None:
        """Exactly these messages, and nothing running any more."""
        await expect(self.messages.locator("p")).to_have_text(list(messages))
        await expect(self.abort).to_be_hidden()

    @property
    def messages(self) -> Locator:
        return self.page.locator("#messages li")

    @property
    def abort(self) -> Locator:
        return self.page.get_by_role("button", name="Abort")

    @property
    def notice(self) -> Locator:
        return self.page.locator("#notice")

    @property
    def attachments(self) -> Locator:
        return self.page.locator("#attachments li")

    @property
    def sessions(self) -> Locator:
        return self.page.locator("#sessions button")

    async def session_key(self) -> str:
        key: str = await self.page.evaluate("sessionStorage.getItem('trunkline.session')")
        return key


@dataclass
class Administrator:
    """Someone in the Django admin."""

    page: Page
    url: str

    @classmethod
    async def log_in(
        cls, context: BrowserContext, url: str, name: str, password: str
    ) -> Administrator:
        page = await context.new_page()
        await page.goto(f"{url}/admin/login/?next=/admin/")
        await page.get_by_label("Username").fill(name)
        await page.get_by_label("Password").fill(password)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("link", name="Pairings").first).to_be_visible()
        return cls(page, url)

    async def decide(self, code: str, verdict: str) -> None:
        """Press Approve, Deny or Revoke in the row of this code or person."""
        await self.page.goto(f"{self.url}/admin/accounts/pairing/")
        row = self.page.get_by_role("row").filter(has_text=code)
        await row.get_by_role("button", name=verdict).click()
        await expect(self.page.locator(".messagelist")).to_be_visible()
