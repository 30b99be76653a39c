"""/admin/ws over real sockets: who gets in, what is heard, what ends it. PROTOCOLS.md 0.1."""

from __future__ import annotations

import re
from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.live.client import Client
from tests.live.line import SOON_S
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

PASSWORD = "a-long-and-quiet-afternoon"
PEOPLE = f"""
from accounts.models import User
from accounts.services import people
for name, role, account in [
    ("boss", "admin", "default"), ("watcher", "viewer", "default"),
    ("helper", "operator", "default"), ("outsider", "operator", "default"),
    ("lady", "admin", "other"), ("leaver", "admin", "default"),
]:
    people.create(username=name, password="{PASSWORD}", role=role, account=account)
User.objects.filter(username__in=["watcher", "helper"]).update(is_staff=True)
"""
HELLO = {"type": "hello"}
PAIRINGS = {"type": "changed", "what": "pairings"}
CONNECTIONS = {"type": "changed", "what": "connections"}


@pytest.fixture(scope="module")
def server(serve_for_module):
    server = serve_for_module(database="sqlite", ALLOWED_ORIGINS="https://allowed.example")
    server.run("shell", "--no-imports", "-c", PEOPLE)
    return server


@pytest.fixture
def log_in(server):
    """A browser in which somebody has logged in; `log_in(key=…)`: one that has this session."""
    with ExitStack() as stack:

        def go(name: str = "", *, key: str = "") -> httpx.Client:
            browser = stack.enter_context(
                httpx.Client(base_url=server.url, trust_env=False, timeout=30)
            )
            if name:
                post(browser, "/admin/login/", username=name, password=PASSWORD, next="/admin/")
            else:
                browser.cookies.set("sessionid", key)
            return browser

        yield go


def post(browser: httpx.Client, path: str, **data: str) -> httpx.Response:
    """Post a form with the token that its page carries."""
    page = browser.get("/admin/login/", follow_redirects=True).text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token, page
    return browser.post(path, data={**data, "csrfmiddlewaretoken": token[1]})


def page_of(server, browser: httpx.Client | None = None, *, origin: str | None = "own") -> Client:
    cookie = f"sessionid={browser.cookies['sessionid']}" if browser else ""
    return Client(
        f"{server.ws_url.removesuffix('/ws')}/admin/ws",
        origin=server.url if origin == "own" else origin,
        additional_headers={"Cookie": cookie} if cookie else {},
    )


async def status_of(client: Client) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with client:
            pass
    return refused.value.response.status_code


async def test_only_an_administrators_own_page_gets_in(server, log_in):
    boss = log_in("boss")
    async with page_of(server, boss) as page:
        await page.frame(lambda frame: frame == HELLO)
    for origin in (None, "https://evil.example", "https://allowed.example", "null"):
        assert await status_of(page_of(server, boss, origin=origin)) == 403, origin
    assert await status_of(page_of(server)) == 403
    for name in ("watcher", "helper"):
        assert await status_of(page_of(server, log_in(name))) == 403, name
    assert await status_of(page_of(server, log_in(key="a" * 32))) == 403


async def test_a_session_of_somebody_who_is_no_staff_is_refused(server, log_in):
    key = server.run("shell", "--no-imports", "-c", SESSION_OF_OUTSIDER).split()[-1]
    assert await status_of(page_of(server, log_in(key=key))) == 403


SESSION_OF_OUTSIDER = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from accounts.models import User
user = User.objects.get(username="outsider")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[-1]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""


async def test_each_tenants_page_is_told_of_its_own_changes_only(server, log_in, join):
    async with (
        page_of(server, log_in("boss")) as page,
        page_of(server, log_in("lady")) as foreign,
    ):
        for one in (page, foreign):
            await one.frame(lambda frame: frame == HELLO)
            await one.frame(lambda frame: frame == CONNECTIONS)  # their own arrival
        foreign.frames.clear()
        page.frames.clear()
        browser = await join(server)
        pending = await browser.ask("connect", user_id="alice")
        await page.frame(lambda frame: frame == PAIRINGS, within_s=SOON_S)
        alice = await join(server, token=key_of("alice"))
        await page.frame(lambda frame: frame == CONNECTIONS, within_s=SOON_S)
        page.frames.clear()
        await alice.socket.close()
        await page.frame(lambda frame: frame == CONNECTIONS, within_s=SOON_S)
        server.run("deny_pairing", pending["pairing_code"])
        await page.frame(lambda frame: frame == PAIRINGS)
        # What is said to `other` comes after all of that, and alone.
        carol = await join(server, token=key_of("carol"))
        await foreign.frame(lambda frame: frame == CONNECTIONS)
        assert foreign.frames == [CONNECTIONS]
        assert await carol.ask("status")


async def test_a_log_out_closes_the_pages_of_that_session_at_once(server, log_in):
    here, elsewhere = log_in("boss"), log_in("boss")
    async with page_of(server, here) as page, page_of(server, elsewhere) as other:
        for one in (page, other):
            await one.frame(lambda frame: frame == HELLO)
        assert post(here, "/admin/logout/").status_code == 200
        assert await page.closed(within_s=SOON_S) == (4003, "access was revoked")
        await (await other.socket.ping())
        assert other.socket.close_code is None


async def test_a_deactivated_administrators_pages_close(server, log_in):
    async with page_of(server, log_in("leaver")) as page:
        await page.frame(lambda frame: frame == HELLO)
        server.run("shell", "--no-imports", "-c", DEACTIVATE)
        assert (await page.closed(within_s=SOON_S))[0] == 4003


DEACTIVATE = """
from accounts.models import User
from accounts.services import journal, revocation
revocation.user(principal=journal.command_line(), user=User.objects.get(username="leaver"))
"""


async def test_a_page_closes_when_its_session_expires(server, log_in):
    boss = log_in("boss")
    shorten = SHORTEN.format(key=boss.cookies["sessionid"])
    server.run("shell", "--no-imports", "-c", shorten)
    async with page_of(server, boss) as page:
        await page.frame(lambda frame: frame == HELLO)
        assert await page.closed() == (4003, "credentials have expired")
    assert await status_of(page_of(server, boss)) == 403


SHORTEN = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
ends = timezone.now() + timedelta(seconds=6)
assert Session.objects.filter(pk={key!r}).update(expire_date=ends)
"""


async def test_a_message_reaches_the_connection_and_a_disconnect_ends_it(server, join):
    alice, bob = await join(server, token=key_of("alice")), await join(server, token=key_of("bob"))
    headers = {"Authorization": f"Bearer {key_of('root')}"}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, trust_env=False, timeout=30
    ) as http:
        rows = (await http.get("/api/connections/")).json()["results"]
        at = next(f"/api/connections/{row['id']}" for row in rows if row["user"] == "alice")
        answer = await http.post(f"{at}/message/", json={"text": "back in five minutes"})
        assert answer.status_code == 202
        notice = await alice.event("notice")
        assert notice == {"text": "back in five minutes", "by": "root"}
        assert (await http.post(f"{at}/disconnect/")).status_code == 202
        assert (await alice.closed(within_s=SOON_S))[0] == 4003
    assert await bob.ask("status")
    assert not [frame for frame in bob.frames if frame.get("event") == "notice"]
