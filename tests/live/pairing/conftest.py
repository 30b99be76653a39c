"""One server for all pairing cases, its administrators by page and API, and browsers that ask."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections import namedtuple

import httpx
import pytest

from tests.services.people import key_of

LIST = "/admin/accounts/pairing/"
PASSWORD = "a-long-and-quiet-afternoon"
BOSS_KEY = "gwk_b055b055_" + "b" * 43
MAKE_BOSS = f"""
import hashlib
from accounts.models import ApiKey
from accounts.services import people
boss = people.create(username="boss", password={PASSWORD!r}, role="admin", account="default")
ApiKey.objects.create(account=boss.account, user=boss.user, name="live", prefix="b055b055",
                      digest=hashlib.sha256({BOSS_KEY!r}.encode()).hexdigest())
"""

Asked = namedtuple("Asked", "socket code sender_id address")


@pytest.fixture(scope="module")
def server(serve_for_module):
    """One server for all cases: behind its proxy every test comes from addresses of its own."""
    server = serve_for_module(
        database="sqlite", TRUSTED_PROXIES="127.0.0.1", LOG_FORMAT="json", RATE_LIMIT_RPM="0"
    )
    server.run("shell", "--no-imports", "-c", MAKE_BOSS)
    return server


@pytest.fixture(scope="module")
def sql(server):
    """Read and change the server's rows behind its back."""
    file = server.environ["DATABASE_URL"].removeprefix("sqlite:///")

    def run(statement, *values):
        with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
            return database.execute(statement, values).fetchall()

    return run


@pytest.fixture(scope="module")
def cookies(server):
    """Of boss, logged in to the admin."""
    with httpx.Client(base_url=server.url, timeout=30) as http:
        http.get("/admin/login/")
        form = {"username": "boss", "password": PASSWORD, "next": "/admin/"}
        form["csrfmiddlewaretoken"] = http.cookies["csrftoken"]
        answer = http.post("/admin/login/", data=form)
        assert answer.status_code == 302, answer.text
        session = next(
            line for line in answer.headers.get_list("set-cookie") if "sessionid" in line
        )
        assert "HttpOnly" in session and "SameSite=Lax" in session
        return dict(http.cookies)


@pytest.fixture
async def admin_page(server, cookies):
    async with httpx.AsyncClient(base_url=server.url, cookies=cookies, timeout=30) as http:
        yield http


@pytest.fixture
async def api(server):
    """`await api(name or key, path)`: POST by bearer; the status."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:

        async def post(who, path):
            key = who if who.startswith("gwk_") else key_of(who)
            answer = await http.post(path, headers={"Authorization": f"Bearer {key}"})
            return answer.status_code

        yield post


_hosts = itertools.count(1)


def next_address():
    return f"198.18.{next(_hosts)}.7"


@pytest.fixture
def ask(server, join):
    """A browser without a token, from an address of its own unless one is given."""

    async def go(user="alice", *, address="", agent=None, **params):
        address = address or next_address()
        headers = {"X-Forwarded-For": address}
        options = {"additional_headers": headers, "user_agent_header": agent}
        socket = await join(server, options=options)
        answer = await socket.ask("connect", user_id=user, **params)
        assert answer["status"] == "pending_pairing"
        return Asked(socket, answer["pairing_code"], answer["sender_id"], address)

    return go


@pytest.fixture
def stored(sql):
    """What the database holds of a request: status, who decided."""

    def read(asked):
        columns = "select status, decided_by from accounts_pairing where sender_id = ?"
        return sql(columns, asked.sender_id)[0]

    return read


@pytest.fixture
def entries(sql):
    """The admin's history of a request: who, and which action."""

    def read(asked):
        return sql(
            """select u.username, substr(l.change_message, 1, instr(l.change_message, ' by ') - 1)
            from django_admin_log l join accounts_user u on u.id = l.user_id
            join accounts_pairing p on l.object_id = cast(p.id as text)
            where p.sender_id = ? order by l.id""",
            asked.sender_id,
        )

    return read


async def state(asked, sender_id=""):
    """What a browser hears of its own request, or of another sender id."""
    question = {"sender_id": sender_id or asked.sender_id}
    return await asked.socket.ask("browser.pairing.status", **question)


async def press(http, path, *, token=True, **headers):
    """Post to `path` as the page's own button does, but for what is said."""
    data = {"csrfmiddlewaretoken": http.cookies["csrftoken"]} if token else {}
    return await http.post(path, data=data, headers=headers)
