"""The pairing cases PAIR-01 to 06, 09 and 12 of the reliability page, over real sockets;
10 and 11 are in test_pairing_pages.

Where PROTOCOLS.md 2.4 and 2.5 say otherwise they hold: an unknown id is `expired`, one request too
many gets row 4's error, and no wrong code burns a request, for only administrators give codes.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid

import pytest

from realtime.protocols.goclaw.methods import POLICY
from tests.live.line import SOON_S
from tests.live.pairing.conftest import BOSS_KEY, LIST, next_address, press, state
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ALPHABET = set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
ROW_4 = {
    "code": "UNAUTHORIZED",
    "message": "permission denied: valid token or active pairing required",
}

# --- PAIR-01: before approval nothing but the status ---


async def test_pair01_a_pending_socket_may_only_ask_for_its_status(ask):
    browser = await ask()
    for method in sorted({*POLICY, "no.such.method"} - {"browser.pairing.status"}):
        refusal = await browser.socket.refused(method, code=browser.code, sessionKey="s")
        assert refusal == {"code": "UNAUTHORIZED", "message": "first request must be 'connect'"}
    assert await state(browser) == {"status": "pending"}


async def test_pair01_before_connect_not_even_the_status(server, join):
    socket = await join(server)
    refusal = await socket.refused("browser.pairing.status", sender_id=str(uuid.uuid4()))
    assert refusal["message"] == "first request must be 'connect'"


async def test_pair01_a_pending_socket_hears_no_event(server, ask, join):
    browser = await ask()
    admin = await join(server, token=key_of("root"))
    other = await ask("bob")
    assert (await admin.event("device.pair.requested"))["code"] == other.code
    assert await state(browser) == {"status": "pending"}
    assert [frame for frame in browser.socket.frames if frame["type"] == "event"] == []


# --- PAIR-02: neither code nor sender id can be guessed ---


async def test_pair02_codes_have_forty_bits_and_sender_ids_a_hundred_and_twenty_eight(ask):
    browser = await ask("user-0")
    codes, proofs = [browser.code], [browser.sender_id]
    for number in range(1, 100):  # another user id is another request
        params = {"user_id": f"user-{number}", "sender_id": proofs[-1]}
        answer = await browser.socket.ask("connect", **params)
        codes.append(answer["pairing_code"])
        proofs.append(answer["sender_id"])
    assert {len(code) for code in codes} == {8}
    assert set("".join(codes)) == ALPHABET, "32 symbols, all of them drawn"
    assert len(set(codes)) == len(set(proofs)) == 100
    bits = [uuid.UUID(proof).int for proof in proofs]
    for place in range(128):
        assert {number >> place & 1 for number in bits} == {0, 1}, f"bit {place} never changes"


async def test_pair02_wrong_codes_tell_nothing_and_burn_nothing(server, ask, join):
    browser = await ask()
    admin, bob = await join(server, token=key_of("root")), await join(server, token=key_of("bob"))
    carol = await join(server, token=key_of("carol"))
    code = browser.code
    for guess in ("AAAAAAAA", code[:-1], code + "A", code[1:] + code[0], "%", "_" * 8):
        refusal = await admin.refused("device.pair.approve", code=guess)
        assert refusal == {
            "code": "NOT_FOUND",
            "message": f"pairing code {guess} not found or expired",
        }
    # To the stranger the right code is no better than a wrong one, nor to another account's admin.
    for method in ("device.pair.approve", "device.pair.deny"):
        told = [await bob.refused(method, code=code) for code in (browser.code, "AAAAAAAA")]
        assert told[0] == told[1]
        refusal = await carol.refused(method, code=browser.code)
        assert refusal["message"] == f"pairing code {browser.code} not found or expired"
    assert await state(browser) == {"status": "pending"}


async def test_pair02_who_has_read_the_code_has_no_proof(server, ask, join):
    browser = await ask()
    await (await join(server, token=key_of("root"))).ask("device.pair.approve", code=browser.code)
    onlooker = await ask("alice", sender_id=browser.code)
    assert onlooker.sender_id != browser.sender_id
    assert await state(onlooker, browser.code) == {"status": "expired"}


# --- PAIR-03: too many at once ---


async def test_pair03_the_fourth_request_of_an_address_is_refused_and_none_is_evicted(
    server, ask, join
):
    address = next_address()
    three = [await ask(f"user-{number}", address=address) for number in range(3)]
    headers = {"X-Forwarded-For": address}
    fourth = await join(server, options={"additional_headers": headers})
    assert await fourth.refused("connect", user_id="user-3") == ROW_4
    assert [await state(browser) for browser in three] == [{"status": "pending"}] * 3
    again = await ask("user-0", address=address, sender_id=three[0].sender_id)
    assert again.code == three[0].code, "who comes back takes no new place"
    assert await state(await ask("elsewhere")) == {"status": "pending"}


async def test_pair03_a_decision_makes_room(server, ask, join):
    address = next_address()
    three = [await ask(f"user-{number}", address=address) for number in range(3)]
    admin = await join(server, token=key_of("root"))
    await admin.ask("device.pair.deny", code=three[1].code)
    assert await state(await ask("user-3", address=address)) == {"status": "pending"}


async def test_pair03_an_address_that_a_client_makes_up_does_not_count(server, ask, join):
    """Only what our proxy adds, at the end of the line, says who asks."""
    real = next_address()
    for number in range(3):
        await ask(f"user-{number}", address=f"10.1.1.{number}, {real}")
    headers = {"X-Forwarded-For": f"10.1.1.99, {real}"}
    fourth = await join(server, options={"additional_headers": headers})
    assert await fourth.refused("connect", user_id="user-3") == ROW_4


# --- PAIR-04: too late ---


async def test_pair04_an_expired_request_is_approved_by_nobody(
    server, sql, stored, ask, join, api, admin_page
):
    browser = await ask()
    past = "2020-01-01 00:00:00"
    sql("update accounts_pairing set expires_at = ? where code = ?", past, browser.code)
    admin = await join(server, token=key_of("root"))
    refusal = await admin.refused("device.pair.approve", code=browser.code)
    assert refusal["code"] == "NOT_FOUND"
    assert await api("root", f"/api/pairings/{browser.code}/approve/") == 404
    answer = await press(admin_page, f"{LIST}code/{browser.code}/approve/")
    assert answer.status_code == 302
    page = (await admin_page.get(LIST)).text
    assert re.search(r'<li class="error">[^<]*expired', page)
    assert f"code/{browser.code}/approve" not in page
    assert stored(browser)[0] in {"pending", "expired"}
    assert await state(browser) == {"status": "expired"}
    again = await ask("alice", sender_id=browser.sender_id)
    assert again.code != browser.code


# --- PAIR-05: one outcome ---


async def test_pair05_a_decision_is_final(ask, api, stored, entries):
    approved, denied = await ask("a"), await ask("b")
    assert await api("root", f"/api/pairings/{approved.code}/approve/") == 200
    assert await api("root", f"/api/pairings/{denied.code}/deny/") == 200
    for browser in (approved, denied):
        for verb in ("approve", "deny"):
            assert await api(BOSS_KEY, f"/api/pairings/{browser.code}/{verb}/") == 404
    assert stored(approved) == ("approved", "root")
    assert stored(denied) == ("denied", "root")
    assert entries(approved) == [("root", "approved")]
    assert entries(denied) == [("root", "denied")]


@pytest.mark.parametrize("verbs", [("approve", "approve"), ("approve", "deny")])
async def test_pair05_two_admins_at_once_come_to_one_outcome_and_its_actor_is_named(
    verbs, ask, api, stored, entries
):
    browser = await ask()
    calls = [("root", verbs[0]), (BOSS_KEY, verbs[1])] * 4
    answers = await asyncio.gather(
        *[api(who, f"/api/pairings/{browser.code}/{verb}/") for who, verb in calls]
    )
    assert sorted(answers) == [200] + [404] * 7
    who, verb = calls[answers.index(200)]
    name = "root" if who == "root" else "boss"
    outcome = {"approve": "approved", "deny": "denied"}[verb]
    assert stored(browser) == (outcome, name)
    assert entries(browser) == [(name, outcome)]


async def test_pair05_the_page_and_the_api_at_once_come_to_one_outcome(
    ask, api, admin_page, stored, entries
):
    browser = await ask()
    page, *_ = await asyncio.gather(
        press(admin_page, f"{LIST}code/{browser.code}/approve/"),
        api("root", f"/api/pairings/{browser.code}/deny/"),
    )
    assert page.status_code == 302
    (outcome, name), history = stored(browser), entries(browser)
    assert (outcome, name) in {("approved", "boss"), ("denied", "root")}
    assert history == [(name, outcome)]


# --- PAIR-06: somebody else's status ---


async def test_pair06_without_its_sender_id_a_request_looks_like_none(ask):
    browser, stranger = await ask("alice"), await ask("bob")
    near = [
        str(uuid.uuid4()),
        browser.code,
        browser.sender_id[:-1],
        browser.sender_id.upper() + "0",
        browser.sender_id.replace("-", ""),
        "alice",
    ]
    assert [await state(stranger, guess) for guess in near] == [{"status": "expired"}] * len(near)
    for odd in ("%", "a b", "x" * 129, browser.sender_id + "\n"):
        refusal = await stranger.socket.refused("browser.pairing.status", sender_id=odd)
        assert refusal["message"] == "invalid sender_id format"


async def test_pair06_asking_is_limited_for_each_address(ask):
    browser, neighbour = await ask("alice"), await ask("bob")
    question = {"sender_id": str(uuid.uuid4())}
    ask_status = "browser.pairing.status"  # one a second more is allowed while they are asked
    numbers = [await browser.socket.send(ask_status, **question) for _ in range(120)]
    answers = [await browser.socket.answer(number) for number in numbers]
    refusals = [answer["error"] for answer in answers if not answer["ok"]]
    assert [answer["ok"] for answer in answers[:60]] == [True] * 60
    assert refusals
    for refusal in refusals:
        assert (refusal["code"], refusal["message"]) == ("RESOURCE_EXHAUSTED", "rate limited")
    assert await state(neighbour) == {"status": "pending"}


# --- PAIR-09: the browser was away when it was approved ---


async def test_pair09_an_approval_just_after_the_socket_closed_lets_the_browser_in(
    server, ask, join
):
    browser = await ask("alice")
    admin = await join(server, token=key_of("root"))
    await browser.socket.socket.close()
    await asyncio.sleep(0.1)  # the case is about these 100 ms
    await admin.ask("device.pair.approve", code=browser.code)
    device = await join(server)
    welcome = await device.ask("connect", user_id="alice", sender_id=browser.sender_id)
    assert (welcome["role"], welcome["user_id"]) == ("operator", "alice")


# --- PAIR-12: the end of a device ---


async def test_pair12_a_revoked_device_is_shown_out_at_once_and_must_be_paired_again(
    server, ask, api, join
):
    browser = await ask("alice")
    assert await api("root", f"/api/pairings/{browser.code}/approve/") == 200
    device = await join(server, sender_id=browser.sender_id)
    bystander = await join(server, token=key_of("alice"))
    revoke = f"/api/pairings/{browser.sender_id}/revoke/"
    assert await api("bob", revoke) == 403
    assert await api("carol", revoke) == 404
    assert await device.ask("status")
    assert await api("root", revoke) == 200
    assert await device.closed(within_s=SOON_S) == (4003, "access was revoked")
    assert await bystander.ask("status")
    again = await ask("alice", sender_id=browser.sender_id)
    assert again.sender_id != browser.sender_id
    assert await state(again, browser.sender_id) == {"status": "expired"}


# --- The proof stays between the server and the browser ---


async def test_a_sender_id_is_in_no_line_of_the_log_whatever_happens_to_it(
    server, ask, api, join, admin_page
):
    first, second, third = [await ask(name) for name in ("alice", "bob", "carol")]
    await state(first)
    await press(admin_page, f"{LIST}code/{first.code}/approve/")
    await join(server, sender_id=first.sender_id)
    assert await api("root", f"/api/pairings/{first.sender_id}/revoke/") == 200
    assert await api("root", f"/api/pairings/{first.sender_id}/revoke/") == 404
    assert await api("root", f"/api/pairings/{second.sender_id}/approve/") == 404
    assert (await admin_page.get(f"{LIST}code/{third.sender_id}/approve/")).status_code == 405
    assert (await admin_page.get(f"/nowhere/?sender_id={third.sender_id}")).status_code == 404
    assert await api("root", f"/api/pairings/{second.code}/approve/") == 200
    server.run("revoke_pairing", second.sender_id)
    refusal = await third.socket.refused("connect", sender_id=third.sender_id, token="wrong")
    assert refusal == ROW_4
    log = server.log()
    decided = [json.loads(line) for line in log.splitlines() if "pairing.decided" in line]
    assert {"boss", "root"} <= {line["actor"] for line in decided}
    for browser in (first, second, third):
        assert browser.sender_id not in log
        assert browser.code not in log
