"""The Python edge agent against a scripted server, over a real socket, with short times."""

from __future__ import annotations

import logging
import ssl
import threading
import time

import pytest

from tests.clients.desk import NOON, SECRET, Desk
from tests.clients.far_end import command, until
from trunkline_client import ANY, EdgeAgent
from trunkline_client.commands import written

# --- the door ---


async def test_it_shows_its_secret_and_its_id_and_pings_at_once(server, tmp_path):
    async with Desk(server.url, tmp_path).at_work():
        visit = await server.visit()
        await until(lambda: visit.texts)
        assert visit.path == "/edge/ws?edge_agent_id=edge_1"
        assert visit.headers["Authorization"] == f"Bearer {SECRET}"
        assert visit.headers["X-Edge-Agent-Id"] == "edge_1"
        assert visit.texts[0] == '{"type":"ping"}'


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://host:8000", "ws://host:8000/edge/ws?edge_agent_id=a%2Fb%20%2B"),
        ("https://host/", "wss://host/edge/ws?edge_agent_id=a%2Fb%20%2B"),
        ("wss://host/own/path?k=v", "wss://host/own/path?k=v&edge_agent_id=a%2Fb%20%2B"),
    ],
)
def test_its_address(url, address, tmp_path):
    assert EdgeAgent(url, "a/b +", SECRET, tmp_path / "ledger").address == address


@pytest.mark.parametrize(
    ("url", "name", "complaint"),
    [("host:8000", "a", "url"), ("ftp://host", "a", "url"), ("ws://host", "", "agent_id")],
)
def test_a_wrong_address_is_refused_by_its_name(url, name, complaint, tmp_path):
    with pytest.raises(ValueError, match=f"^{complaint}: "):
        EdgeAgent(url, name, SECRET, tmp_path / "ledger")


async def test_the_secret_is_asked_at_each_attempt(server, tmp_path):
    secrets = iter(["one", "two\n"])

    async def secret():
        return next(secrets)

    async with Desk(server.url, tmp_path, secret=secret).at_work():
        await server.visit()
        await server.drop()
        second = await server.visit(1)
        assert second.headers["Authorization"] == "Bearer two"


async def test_no_secret_is_an_attempt_that_failed(server, tmp_path, caplog):
    secrets = iter(["", "two words\r\nX-Forged: 1", "good"])

    async with Desk(server.url, tmp_path, secret=lambda: next(secrets)).at_work():
        visit = await server.visit()
        assert visit.headers["Authorization"] == "Bearer good"
        assert server.attempts == 1
    said = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert said == ["edge_1: the secret is empty or not plain ASCII"] * 2


async def test_no_log_and_no_repr_shows_the_secret_or_a_payload(server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1", text="a private word"), {"type": "command", "data": {}})
        await visit.acked(1)
    ours = [r.getMessage() for r in caplog.records if r.name != "websockets.server"]
    assert "edge_1: connected" in ours
    assert SECRET not in repr([ours, desk.agent, desk.told])
    assert not [message for message in ours if "a private word" in message]


# --- commands ---


@pytest.mark.parametrize("key", ["data", "payload"])
async def test_a_command_acts_and_is_acknowledged(server, tmp_path, key):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1", key=key))
        (ack,) = await visit.acked(1)
        assert ack == {
            "command_id": "c1",
            "status": "completed",
            "completed_at": "2025-11-15T12:00:00.000Z",
        }
        assert desk.acted == ["c1"]


async def test_a_scheduled_one_is_acknowledged_at_once_and_again_when_it_acted(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(
            command("c1", "schedule_message", send_at="2025-11-15T12:30:00Z"),
            # the same moment as noon; the two others are not due
            command("c2", "schedule_message", send_at="2025-11-15T13:00:00+01:00"),
            command("c3", "note", send_at="2025-11-15T12:45:00Z", priority="immediate"),
        )
        acks = await visit.acked(4)
        assert [ack for ack in acks if "completed_at" not in ack] == [
            {"command_id": name, "status": "completed"} for name in ("c1", "c2", "c3")
        ]
        assert desk.acted == ["c2"]
        desk.clock.at = NOON + 3600
        await visit.say(command("c4", thread_id="x"))  # whatever comes makes it look again
        acks = (await visit.acked(7))[4:]
        assert sorted(ack["command_id"] for ack in acks) == ["c1", "c3", "c4"]
        assert {ack["completed_at"] for ack in acks} == {"2025-11-15T13:00:00.000Z"}


async def test_a_scheduled_one_acts_at_its_time_without_a_connection(server, tmp_path):
    desk = Desk(server.url, tmp_path, now=time.time)
    async with desk.at_work():
        visit = await server.visit()
        soon = written(time.time() + 5)
        await visit.say(command("c1", "schedule_message", send_at=soon))
        assert await visit.acked(1) == [{"command_id": "c1", "status": "completed"}]
        assert not desk.acted
        server.refuse = 503
        await server.drop()
        await until(lambda: desk.acted)
        assert written(time.time()) >= soon
        assert len(desk.of("connected")) == 1
        server.refuse = 0
        again = await server.visit(1)
        await until(lambda: again.acks and "completed_at" in again.acks[-1])


async def test_what_cannot_be_understood_fails_with_its_reason(server, tmp_path):
    bad = ["tomorrow", "2025-11-15T12:30:00", None, 17, "2025-11-15T25:00:00Z"]
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        for number, send_at in enumerate(bad):
            await visit.say(command(f"t{number}", "schedule_message", send_at=send_at))
        await visit.say(command("m", "schedule_message"), command("u", "fly", send_at="tomorrow"))
        acks = await visit.acked(len(bad) + 2)
        assert [ack["error"] for ack in acks] == [
            *(f"Invalid timestamp: {text}" for text in [*bad, None]),
            "Unknown command type: fly",
        ]
        assert {ack["status"] for ack in acks} == {"failed"}
        assert not desk.acted


async def test_a_handler_for_any_type_takes_what_has_none(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    desk.agent.on(ANY)(lambda command: desk.acted.append(command.type))
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("u", "fly"))
        assert (await visit.acked(1))[0]["status"] == "completed"
        assert desk.acted == ["fly"]


async def test_frames_that_mean_nothing_are_passed_over(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        for text in ("no json", "[]", "7", "[" * 100_000, '{"type":"config_update","data":{}}'):
            await visit.socket.send(text)
        await visit.say(
            {"type": "welcome"},
            {"type": "error", "data": {"code": "X", "message": "y"}},
            {"type": "command", "data": {"command_id": 7}},
            command("\ud800"),
            command("c1"),
        )
        assert (await visit.acked(1))[0]["command_id"] == "c1"
        assert len(server.visits) == 1


async def test_plain_handlers_run_in_a_thread_and_their_complaint_is_the_error(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    seen = []

    @desk.agent.on("plain")
    def plain(command):
        seen.append(threading.current_thread())
        raise RuntimeError("no paper\0\ud800")

    @desk.agent.on("mute")
    async def mute(command):
        raise KeyError

    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1", "plain", thread_id="t"), command("c2", "mute", thread_id="t"))
        acks = await visit.acked(2)
        assert [ack["error"] for ack in acks] == ["no paper ?", "KeyError"]
        assert seen[0] is not threading.main_thread()


async def test_one_conversation_acts_in_order_and_does_not_hold_up_another(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(
            command("a1", "slow", thread_id="a"),
            command("a2", "note", thread_id="a"),
            command("b1", "note", thread_id="b"),
        )
        await visit.acked(1)
        assert desk.acted == ["b1"]
        desk.gate.set()
        await visit.acked(3)
        assert desk.acted == ["b1", "a1", "a2"]


async def test_no_more_than_so_many_act_at_a_time(server, tmp_path):
    desk = Desk(server.url, tmp_path, concurrency=2)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("s1", "slow"), command("s2", "slow"), command("c1"))
        await until(lambda: len(desk.of("received")) == 3)
        await visit.say(command("c1"))  # its answer says how far the agent is
        assert await visit.acked(1) == [{"command_id": "c1", "status": "received"}]
        desk.gate.set()
        await until(lambda: "c1" in desk.acted)
        assert desk.acted[-1] == "c1"


async def test_a_scheduled_one_can_be_cancelled_by_its_id_until_it_acts(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1", "schedule_message", send_at="2025-11-15T12:30:00Z"))
        await visit.acked(1)
        await visit.say(command("x1", "cancel_scheduled", schedule_id="c1"))
        await visit.acked(3)
        await visit.say(command("x2", "cancel_scheduled", schedule_id="c1"))
        said = {(ack["command_id"], ack.get("error", "")) for ack in (await visit.acked(4))[1:]}
        assert said == {
            ("c1", "Cancelled by x1"),
            ("x1", ""),
            ("x2", "Message c1 not found or already sent"),
        }
        assert not desk.acted


# --- once ---


async def test_what_comes_again_acts_once_and_is_answered_word_for_word(server, tmp_path, read):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1"))
        first = await visit.acked(1)
        await until(lambda: read)
        desk.clock.at += 60
        await visit.say(command("c1"), command("c1", key="payload"))
        assert await visit.acked(3) == first * 3
        assert desk.acted == ["c1"]
        assert [data["again"] for data in desk.of("received")] == [False, True, True]


async def test_what_comes_again_while_it_acts_is_answered_received(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1", "slow"), command("c1", "slow"))
        assert await visit.acked(1) == [{"command_id": "c1", "status": "received"}]
        desk.gate.set()
        assert (await visit.acked(2))[1]["status"] == "completed"
        assert desk.acted == ["c1"]


async def test_what_was_not_read_is_said_again_in_order_and_what_was_read_is_not(
    server, tmp_path, read
):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c0"))
        await visit.acked(1)
        await until(lambda: read == [1])
        server.pongs = False  # from here on nothing says that it was read
        for number in range(1, 4):
            await visit.say(command(f"c{number}"))
            await visit.acked(number + 1)
        server.pongs = True
        await server.drop()
        again = await server.visit(1)
        assert await again.acked(3) == visit.acks[1:]
        await until(lambda: read[-1] == 4)
        await server.drop()
        third = await server.visit(2)
        await third.say(command("c4"))
        assert (await third.acked(1))[0]["command_id"] == "c4"


async def test_what_the_server_could_not_keep_is_said_again_and_not_taken_for_read(
    server, tmp_path, read, monkeypatch
):
    monkeypatch.setattr("trunkline_client.outbox.AGAIN_S", 0.01)
    async with Desk(server.url, tmp_path).at_work():
        visit = await server.visit()
        server.pongs = False  # they come after the complaint: the server answers in order
        await visit.say(command("c1"))
        (first,) = await visit.acked(1)
        await until(lambda: visit.frames[-1]["type"] == "ping")
        away = {"type": "error", "data": {"code": "UNAVAILABLE", "message": "no database"}}
        await visit.say(away, {"type": "pong"}, {"type": "pong"})
        server.pongs = True
        assert await visit.acked(2) == [first, first]
        await until(lambda: read == [1])
        assert len(server.visits) == 1


async def test_a_certificate_that_is_not_trusted_is_an_attempt_that_failed(
    server, tmp_path, monkeypatch
):
    async def dial(*args, **kwargs):  # it is a ValueError too, as a wrong address is
        raise ssl.SSLCertVerificationError(1, "certificate verify failed")

    desk = Desk(server.url, tmp_path)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("trunkline_client.connection._NoRedirect", dial)
        async with desk.at_work():
            await until(lambda: len(desk.of("lost")) >= 2)
    assert "certificate" in desk.of("lost")[0]["reason"]


async def test_a_new_start_takes_up_what_was_left(server, tmp_path):
    first = Desk(server.url, tmp_path)
    async with first.at_work():
        visit = await server.visit()
        await visit.say(command("c1", "schedule_message", send_at="2025-11-15T12:30:00Z"))
        await visit.acked(1)
    second = Desk(server.url, tmp_path)
    second.clock.at = NOON + 1800
    async with second.at_work():
        visit = await server.visit(1)
        (ack,) = await visit.acked(1)
        assert ack["completed_at"] == "2025-11-15T12:30:00.000Z"
    assert (first.acted, second.acted) == ([], ["c1"])
