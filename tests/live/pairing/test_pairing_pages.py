"""Cases of pairing that concern an admin's page and hostile text. Source: PROTOCOLS.md 2.4."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from tests.live.client import Client
from tests.live.pairing.conftest import LIST, press, state

pytestmark = [pytest.mark.live, pytest.mark.own_server]

# --- PAIR-10: nobody else's page decides ---


EVIL = "https://evil.example"
SECURE = {"X-Forwarded-Proto": "https"}


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_pair10_a_decision_by_get_or_from_another_site_changes_nothing(
    verb, ask, admin_page, stored, entries
):
    browser = await ask()
    path = f"{LIST}code/{browser.code}/{verb}/"
    assert (await admin_page.get(path)).status_code == 405
    for headers in (
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": str(admin_page.base_url).rstrip("/") + ".evil.example"},
        {**SECURE, "Referer": f"{EVIL}/"},
        SECURE,  # over TLS a request that says nothing of where it comes from is not ours
    ):
        assert (await press(admin_page, path, **headers)).status_code == 403, headers
    assert (await press(admin_page, path, token=False)).status_code == 403
    bulk = {"action": f"{verb}_selected", "_selected_action": "1"}
    assert (await admin_page.post(LIST, data=bulk)).status_code == 403
    assert stored(browser) == ("pending", "")
    assert entries(browser) == []
    own = str(admin_page.base_url).rstrip("/")
    assert (await press(admin_page, path, Origin=own)).status_code == 302
    assert len(entries(browser)) == 1


async def test_pair10_the_admins_cookie_decides_nothing_in_the_api_without_a_token(
    ask, admin_page, stored
):
    browser = await ask()
    path = f"/api/pairings/{browser.code}/approve/"
    assert (await admin_page.get(path)).status_code == 405
    assert (await admin_page.post(path)).status_code == 403
    token = {"X-CSRFToken": admin_page.cookies["csrftoken"]}
    assert (await admin_page.post(path, headers={**token, "Origin": EVIL})).status_code == 403
    assert stored(browser) == ("pending", "")
    assert (await admin_page.post(path, headers=token)).status_code == 200


async def test_pair10_a_device_is_not_revoked_from_another_site(ask, api, sql, admin_page, stored):
    browser = await ask()
    assert await api("root", f"/api/pairings/{browser.code}/approve/") == 200
    ((row,),) = sql("select id from accounts_pairing where sender_id = ?", browser.sender_id)
    path = f"{LIST}{row}/revoke/"
    assert (await admin_page.get(path)).status_code == 405
    assert (await press(admin_page, path, token=False)).status_code == 403
    assert (await press(admin_page, path, Origin=EVIL)).status_code == 403
    assert stored(browser)[0] == "approved"
    assert (await press(admin_page, path)).status_code == 302
    assert stored(browser)[0] == "revoked"


# --- PAIR-11: hostile text ---


async def test_pair11_what_a_browser_says_of_itself_is_escaped_and_cut(ask, admin_page):
    script = "<script>alert(1)</script>"
    browser = await ask(script, agent=script + "x" * 7000)
    page = (await admin_page.get(LIST)).text
    assert browser.code in page
    assert script not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "x" * 256 not in page
    listed = (await admin_page.get("/api/pairings/?status=pending")).json()["results"]
    (row,) = [row for row in listed if row["code"] == browser.code]
    assert len(row["user_agent"]) <= 255


async def test_pair11_ten_kilobytes_of_user_agent_do_not_get_to_the_door(server):
    with pytest.raises(InvalidStatus) as refused:
        async with Client(server.ws_url, user_agent_header="x" * 10_000):
            pass
    assert refused.value.response.status_code == 431


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200b", "\x1b", "\n", "\ufeff"])
async def test_pair11_an_id_that_reads_as_another_is_not_shown_to_an_admin_at_all(
    sign, server, join
):
    socket = await join(server, options={"additional_headers": {"X-Forwarded-For": "198.19.0.1"}})
    refusal = await socket.refused("connect", user_id=f"ali{sign}ce")
    assert refusal == {
        "code": "INVALID_REQUEST",
        "message": "user_id takes printable characters only",
    }


@pytest.mark.parametrize("user", ["Алиса", "阿丽斯", "zoë o'neill", "a@b.example", "👩"])
async def test_pair11_every_script_is_a_name(user, ask, admin_page):
    browser = await ask(user)
    assert user.replace("'", "&#x27;") in (await admin_page.get(LIST)).text
    assert await state(browser) == {"status": "pending"}
