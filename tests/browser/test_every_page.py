"""Every page that a person can open, found by following the links: clean, readable, usable.

Nothing serious by axe-core in light and dark, no CSP violation and no console error (the fixture
`watch`), nothing wider than a telephone. Cases PAIR-11, S-01 to S-03 of the reliability page.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests import samples
from tests.browser.axe import findings
from tests.browser.conftest import PASSWORD, House, NewContext, Watch
from tests.browser.people import Administrator, Visitor
from tests.services import Serve

pytestmark = [pytest.mark.browser, pytest.mark.live]

SCRIPT = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
FILL = f"""
from accounts.models import User
from accounts.services import credentials, keys, pairing
from realtime.core.credentials import ConnectToken
from realtime.core.principal import Principal
from sessions_app.models import Session
from sessions_app.services import bulk, chat, commands, nodes, presence, sessions

User.objects.create_superuser("chief", password={PASSWORD!r})
chief = credentials.of_user(user=User.objects.get(username="chief"))

def ask(user, agent, address):
    claim = ConnectToken(user_id=user, user_agent=agent, address=address)
    return credentials.connect(credential=claim)

approved = ask("alice", "Firefox", "198.51.100.1")
pairing.approve(principal=chief, code=approved.code)
pairing.deny(principal=chief, code=ask("mallory", "curl", "198.51.100.2").code)
ask({SCRIPT!r}, {SCRIPT!r}, "198.51.100.3")
ask("w" * 255, "W" * 200, "198.51.100.4")

asked = {{"command_type": {SCRIPT!r}, "payload": {{"text": {SCRIPT!r} + "w" * 999}}}}
for name in ("edge_1", "e" * 255, {SCRIPT!r}):
    last, _ = commands.schedule(principal=chief, agent_id=name, **asked)
commands.cancel(principal=chief, command_id=last.pk)
bulk.start(principal=chief, pattern="*", **asked)
"""
# Swagger UI's own structure: a button for copying within the button that unfolds.
NOT_OURS = "/api/docs", "nested-interactive: "
MOST_PAGES = 80
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
# In what the page is looked at, and with which of axe's rules (none: all).
LOOKS = [
    (WIDE, "light", []),
    (NARROW, "light", ["scrollable-region-focusable"]),
    (NARROW, "dark", ["color-contrast"]),
]


@pytest.fixture(scope="module")
def server(serve_for_module) -> Serve:
    """One server, with something to see on every page."""
    server = serve_for_module(database="sqlite")
    server.run("shell", "--no-imports", "-c", FILL)
    return server


@pytest.fixture
def house(server: Serve) -> House:
    return House(server)


async def talk(context: BrowserContext, house: House) -> Visitor:
    """Alice at the console, with something said, a file sent, and an answer."""
    alice = await Visitor.enter(context, house, "alice")
    await alice.say(SCRIPT)
    await expect(alice.messages).to_have_count(2)
    return alice


def upload(house: House) -> None:
    """A file of alice's."""
    headers = {"Authorization": f"Bearer {house.key('alice')}"}
    file = {"file": ("dot.png", samples.png())}
    answer = httpx.post(
        f"{house.url}/v1/media/upload", headers=headers, files=file, trust_env=False, timeout=30
    )
    assert answer.status_code < 300, answer.text


async def chief_in(context: BrowserContext, house: House) -> Page:
    return (await Administrator.log_in(context, house.url, "chief", PASSWORD)).page


# --- The crawl ---


def kind_of(path: str) -> str:
    """Without ids; the pages of history and of deleting are one template for every model."""
    kind = re.sub(r"/(?:\d+|(?:cmd_5F)?[0-9a-f-]{32,36})(?=/)", "/#", path.rstrip("/") + "/")
    return re.sub(r"^/admin/\w+/\w+/#/(?=history/|delete/)", "/admin/#/", kind)


class Crawl:
    """Follows the links of our own pages; of those alike but for an id the first is looked at."""

    def __init__(self, house: House) -> None:
        self.url = house.url
        self.paths: dict[str, str] = {}  # what a path looks like -> the first such path
        self.problems: list[str] = []
        self._waiting: asyncio.Queue[str] = asyncio.Queue()

    def add(self, *paths: str) -> None:
        for path in paths:
            kind = kind_of(path)
            if kind not in self.paths:
                self.paths[kind] = path
                self._waiting.put_nowait(path)

    async def follow(self, *pages: Page) -> None:
        """Look at what was added and at all that leads on from it, in several tabs at once."""
        while not self._waiting.empty():
            paths = [self._waiting.get_nowait() for _ in pages if not self._waiting.empty()]
            async with asyncio.TaskGroup() as tabs:
                for page, path in zip(pages, paths, strict=False):
                    tabs.create_task(self._look(page, path))
            assert len(self.paths) <= MOST_PAGES, "are there links that never end?"

    async def _look(self, page: Page, path: str) -> None:
        await page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        await page.goto(self.url + path)
        links = await page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        for link in map(urlsplit, links):
            is_ours = f"{link.scheme}://{link.netloc}" == self.url
            if is_ours and not link.path.startswith(("/static/", "/api/schema", "/v1/")):
                self.add(link.path)
        self.problems += await judge(page, path)


async def judge(page: Page, path: str) -> list[str]:
    """What is wrong with the page as it stands, in both sizes and both schemes."""
    found = []
    for size, scheme, rules in LOOKS:
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        where = f"{path} {size['width']} {scheme}"
        found += [
            f"{where}: {finding}"
            for finding in await findings(page, *rules)
            if not (path.startswith(NOT_OURS[0]) and finding.startswith(NOT_OURS[1]))
        ]
        wide = await page.evaluate("document.documentElement.scrollWidth")
        if wide > size["width"]:
            found.append(f"{where}: {wide} pixels wide")
    await page.emulate_media(color_scheme="light")
    return found


@pytest.mark.timeout(240)  # many pages, on a busy machine
async def test_every_page_is_clean_and_fits(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("/nowhere: Failed to load resource")  # a 404, and meant to be
    upload(house)
    alice = await talk(await new_context(), house)  # stays, to be seen among the connections
    outside, inside = Crawl(house), Crawl(house)
    outside.add("/", "/pair/", "/nowhere", "/api/docs/", "/admin/login/")
    await outside.follow(await (await new_context()).new_page())
    assert {"/sessions/", "/topics/", "/groups/"} <= outside.paths.keys(), (
        "the console leads to them"
    )

    context = await new_context()
    first = await chief_in(context, house)
    inside.add("/admin/")
    await inside.follow(first, await context.new_page())
    for expected in (
        "/admin/welcome/",
        "/admin/publish/",
        "/admin/password_change/",
        "/admin/accounts/pairing/",
        "/admin/accounts/pairing/#/change/",
        "/admin/#/history/",
        "/admin/accounts/user/add/",
        "/admin/accounts/apikey/add/",
        "/admin/accounts/edgeagent/#/change/",
        "/admin/accounts/edgeagent/add/",
        "/admin/sessions_app/scheduledcommand/#/change/",
        "/admin/sessions_app/scheduledcommand/add/",
        "/admin/sessions_app/bulksend/#/change/",
        "/admin/sessions_app/bulksend/add/",
        "/admin/accounts/account/#/change/",
        "/admin/sessions_app/session/#/change/",
        "/admin/sessions_app/media/",
        "/admin/sessions_app/presence/",
    ):
        assert expected in inside.paths, f"nothing leads to it: {sorted(inside.paths)}"

    await first.goto(f"{house.url}/admin/")
    await first.get_by_role("button", name="Log out").click()
    problems = await judge(first, "logged out")
    problems += await judge(alice.page, "the connected console")
    problems += outside.problems + inside.problems
    assert not problems, "\n".join(problems)


async def test_the_pages_of_a_waiting_and_of_a_refused_browser_are_clean(
    house: House, new_context: NewContext
) -> None:
    browser = await Visitor.arrive(await new_context(), house.url, query="pair/")
    await browser.page.get_by_label("User id").fill("dora")
    await browser.page.get_by_role("button", name="Ask for a code").click()
    code = browser.page.get_by_label("Pairing code")
    await expect(code).to_be_visible()
    problems = await judge(browser.page, "waiting")
    shown = re.sub(r"\s", "", await code.inner_text())
    house.server.run("deny_pairing", shown)
    await expect(browser.page.get_by_role("alert")).to_be_visible()
    assert problems + await judge(browser.page, "denied") == []


# --- By keyboard alone ---

FOCUSED = """
() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  one.dataset.visited = (Number(one.dataset.visited) || 0) + 1;
  const words = one.getAttribute("aria-label") || one.innerText || one.value || one.name || one.id;
  return [one.tagName, (words || "").trim().slice(0, 60), Number(one.dataset.visited)];
}
"""


async def tab_through(page: Page, most: int = 150) -> list[str]:
    """What the Tab key reaches from the top until it leaves the page; nothing may hold it."""
    await page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(most):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(FOCUSED)
        if focused is None:
            return reached
        name, words, visits = focused
        if visits > 1:
            return reached  # round again: everything was reached once
        reached.append(f"{name} {words}")
    raise AssertionError(f"the page never ends: {reached[-5:]}")


@pytest.mark.parametrize("width", [390, 1440])
async def test_the_keyboard_reaches_every_decision_and_is_held_nowhere(
    width: int, house: House, new_context: NewContext
) -> None:
    context = await new_context(width, 844)
    page = await chief_in(context, house)
    await page.goto(f"{house.url}/admin/accounts/pairing/")
    order = await tab_through(page)
    verbs = [name.split()[1] for name in order if re.match("BUTTON (Approve|Deny|Revoke) ", name)]
    assert verbs.count("Approve") == verbs.count("Deny") >= 1, order
    assert "Revoke" in verbs

    button = page.get_by_role("button", name=re.compile("^Deny")).last
    about = await button.get_attribute("aria-label")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".messagelist")).to_contain_text("Denied")
    await expect(page.get_by_role("button", name=about or "", exact=True)).to_have_count(0)


# --- PAIR-11: in a real browser nothing that a stranger said is run ---


async def test_pair11_nothing_a_stranger_says_is_run_or_becomes_markup(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    page = await chief_in(await new_context(), house)
    await page.goto(f"{house.url}/admin/accounts/pairing/")
    await expect(page.locator("body")).to_contain_text("<script>document.title")
    details = await page.eval_on_selector_all("a[href*='/change/']", "all => all.map(a => a.href)")
    assert details
    for url in details:
        await page.goto(url)
        assert await page.title() != "broken"
    for path in ("", "?q=" + SCRIPT, "?status=" + SCRIPT):
        await page.goto(f"{house.url}/admin/accounts/pairing/{path}")
        assert await page.title() != "broken"
        await expect(page.locator("img[onerror], img[src=x]")).to_have_count(0)
    assert watch.unexpected() == []


# --- S-01 to S-03: a link decides nothing ---


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """An address where nobody listens: whatever goes there is seen as a failed request."""
    yield "127.0.0.1:9"


class Traffic:
    """Every request, every socket and every frame of a context's pages."""

    def __init__(self, context: BrowserContext) -> None:
        self.urls: list[str] = []
        self.sent: list[str] = []
        context.on("request", lambda request: self.urls.append(request.url))
        context.on("page", self._page)

    def _page(self, page: Page) -> None:
        page.on("websocket", self._socket)

    def _socket(self, socket) -> None:  # type: ignore[no-untyped-def]
        self.urls.append(socket.url)
        socket.on("framesent", lambda frame: self.sent.append(str(frame)))


HOSTILE = (
    "?gatewayUrl=ws://{there}/ws&url=ws://{there}/ws&gateway=ws://{there}&host={there}"
    "&token=stolen-token&password=stolen-token&session=s&next=//{there}/&user=mallory"
    "&autoconnect=1#token=stolen-token&gatewayUrl=ws://{there}/ws"
)
KEPT = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"


@pytest.mark.parametrize("path", ["", "pair/", "sessions/", "topics/", "groups/"])
async def test_s01_a_link_neither_connects_nor_redirects(
    path: str, house: House, new_context: NewContext, elsewhere: str
) -> None:
    context = await new_context()
    traffic = Traffic(context)
    visitor = await Visitor.arrive(context, house.url, query=path + HOSTILE.format(there=elsewhere))
    await expect(visitor.page.get_by_label("User id")).to_be_visible()
    await visitor.page.wait_for_load_state("networkidle")
    assert [url for url in traffic.urls if url.startswith("ws")] == [], "nobody asked to connect"
    assert {urlsplit(url).netloc for url in traffic.urls} == {urlsplit(house.url).netloc}


@pytest.mark.parametrize("path", ["", "pair/"])
async def test_s02_a_token_in_a_link_is_neither_shown_nor_kept_nor_sent(
    path: str, house: House, new_context: NewContext, elsewhere: str
) -> None:
    context = await new_context()
    traffic = Traffic(context)
    visitor = await Visitor.arrive(context, house.url, query=path + HOSTILE.format(there=elsewhere))
    await expect(visitor.page.get_by_label("User id")).to_have_value("")
    fields = await visitor.page.eval_on_selector_all("input", "all => all.map(one => one.value)")
    assert set(fields) <= {""}
    assert "stolen-token" not in await visitor.page.locator("body").inner_text()
    await visitor.page.get_by_label("User id").fill("alice")
    await visitor.page.get_by_label("User id").press("Enter")
    await expect(visitor.page.get_by_label("Pairing code")).to_be_visible()
    assert traffic.sent
    assert not [frame for frame in traffic.sent if "stolen-token" in frame or "mallory" in frame]
    assert "stolen-token" not in await visitor.page.evaluate(KEPT)
    (first, *later) = traffic.urls
    assert not [url for url in later if "stolen-token" in url]


async def test_s03_a_token_goes_to_the_pages_own_host_and_into_no_url(
    house: House, new_context: NewContext, elsewhere: str, watch: Watch
) -> None:
    watch.expected.append(f"CSP connect-src ws://{elsewhere}")
    watch.expected.append(f"Connecting to 'ws://{elsewhere}/ws' violates")
    context = await new_context()
    traffic = Traffic(context)
    alice = await Visitor.arrive(context, house.url, query=HOSTILE.format(there=elsewhere))
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    own = urlsplit(house.url).netloc
    assert {urlsplit(url).netloc for url in traffic.urls} == {own}
    assert [url for url in traffic.urls if url.startswith("ws")] == [f"ws://{own}/ws"]
    assert house.key("alice") in json.dumps(traffic.sent), "it was sent, in a frame"
    assert house.key("alice") not in "".join(traffic.urls)
    assert house.key("alice") not in await alice.page.evaluate(KEPT)
    # Were there a script that tried, the page's policy would stop it.
    refused = await alice.page.evaluate(
        """async (url) => {
          const told = new Promise((done) => addEventListener("securitypolicyviolation",
            (event) => done(event.effectiveDirective), { once: true }));
          try { new WebSocket(url).onerror = () => {}; } catch {}
          return told;
        }""",
        f"ws://{elsewhere}/ws",
    )
    assert refused == "connect-src"
