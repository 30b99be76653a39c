"""Real Chromium. Every page is watched: a console error or a CSP violation fails its test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from tests.services import FaultProxy, Serve
from tests.services.people import key_of

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`));
"""

PASSWORD = "a-long-and-quiet-afternoon"
MAKE_BOSS = f"""
from accounts.services import people
people.create(username="boss", password="{PASSWORD}", role="admin", account="default")
"""

INJECT = """
from realtime.core.principal import Principal
from sessions_app.services import chat
chat.inject(principal=Principal(id="alice"), session_key={key!r}, message={message!r})
"""

expect.set_options(timeout=30_000)  # ms; a busy machine is slow to start things

NewContext = Callable[..., Awaitable[BrowserContext]]


@dataclass
class Watch:
    """What went wrong on any page; a test that provokes an error names it in `expected`."""

    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def page(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda line: (
                self.problems.append(f"{page.url}: {line.text} {line.location['url']}")
                if line.type in {"error", "warning"}
                else None
            ),
        )

    def unexpected(self) -> list[str]:
        return [
            problem
            for problem in self.problems
            if not any(known in problem for known in self.expected)
        ]


class House:
    """A running server and its people: alice (owner), bob (stranger), boss (admin), and carol, who
    is the admin of another account.
    """

    def __init__(self, server: Serve) -> None:
        self.server = server
        self.url = server.url
        self.token = server.token

    @cached_property
    def admin(self) -> tuple[str, str]:
        """Name and password for the Django admin."""
        self.server.run("shell", "--no-imports", "-c", MAKE_BOSS)
        return "boss", PASSWORD

    def key(self, name: str) -> str:
        return key_of(name)

    def restart(self, *, meanwhile_alice_hears: str, in_session: str) -> None:
        """Kill the server and start it again; what happens between, no socket is told."""
        self.server.kill()
        inject = INJECT.format(key=in_session, message=meanwhile_alice_hears)
        self.server.run("shell", "--no-imports", "-c", inject)
        self.server.start()


def url_of(proxy: FaultProxy) -> str:
    """Where a page finds the house through this line."""
    return f"http://127.0.0.1:{proxy.port}"


@pytest.fixture
def house(serve: Callable[..., Serve]) -> House:
    return House(serve())


@pytest.fixture
def proxy(house: House) -> Iterator[FaultProxy]:
    """A line to the house that can be cut."""
    with FaultProxy("127.0.0.1", house.server.port) as proxy:
        yield proxy


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    yield watch
    assert watch.unexpected() == []


# Not playwright's own fixtures: its synchronous ones break every later async test of the process.
@pytest.fixture
async def new_context(watch: Watch) -> AsyncIterator[NewContext]:
    """Makes browser contexts: people who share nothing."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: install Debian's package chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)

        async def make(width: int = 1280, height: int = 800, **options: object) -> BrowserContext:
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                **options,  # type: ignore[arg-type]
            )
            context.set_default_timeout(40_000)
            context.on("page", watch.page)
            await context.add_init_script(REPORT_VIOLATIONS)
            return context

        yield make
        await browser.close()
