"""The Python edge agent against a scripted server, over a real socket, with short times."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from contextlib import asynccontextmanager, suppress

import pytest

from tests.clients.edge_server import EdgeServer, command, until
from trunkline_client import ANY, EdgeAgent, Ledger, Replaced, Timing
from trunkline_client.commands import written

SECRET = "a-secret-that-nobody-may-see"
QUICK = Timing(
    ping_every_s=0.05, pong_within_s=0.5, first_delay_s=0.01, longest_delay_s=0.08, jitter=0.0
)
NOON = 1_763_208_000.0  # 2025-11-15T12:00:00Z


class Clock:
    """The wall clock of the agent's computer."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


class Desk:
    """An agent with what a test wants to know of it. Its handlers note what they did."""

    def __init__(self, url: str, folder, **options) -> None:
        self.acted: list[str] = []
        self.told: list[tuple[str, dict]] = []
        self.clock = Clock()
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        given = {
            "secret": SECRET,
            "ledger": folder / "ledger.sqlite3",
            "timing": QUICK,
            "confirm_after_s": 0.0,
            "now": self.clock,
            "observer": lambda what, data: self.told.append((what, dict(data))),
            "options": {"proxy": None},
        }
        self.agent = EdgeAgent(url, "edge_1", **{**given, **options})
        for kind in ("note", "schedule_message"):
            self.agent.on(kind)(lambda command: self.acted.append(command.id))

        @self.agent.on("slow")
        async def slow(command):
            self.begun.set()
            await self.gate.wait()
            self.acted.append(command.id)

    def of(self, what: str) -> list[dict]:
        return [data for kind, data in self.told if kind == what]

    @asynccontextmanager
    async def at_work(self):
        task = asyncio.create_task(self.agent.run())
        try:
            yield task
        finally:
            if task.done():
                with suppress(Replaced):
                    task.result()
            self.agent.stop()
            self.gate.set()
            with suppress(Replaced):
                await asyncio.wait_for(task, 10)


@pytest.fixture
async def server():
    async with EdgeServer() as server:
        yield server


@pytest.fixture
def read(monkeypatch):
    """The numbers of the acknowledgements of which the agent knows that they were read."""
    numbers: list[int] = []
    confirm = Ledger.confirm

    def noted(ledger, through):
        confirm(ledger, through)
        numbers.append(through)

    monkeypatch.setattr(Ledger, "confirm", noted)
    return numbers


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
        soon = written(time.time() + 0.3)
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


# --- staying, leaving, coming back ---


async def test_without_its_pong_the_connection_is_given_up(server, tmp_path):
    server.pongs = False
    desk = Desk(
        server.url, tmp_path, timing=Timing(pong_within_s=0.05, first_delay_s=0.01, jitter=0)
    )
    async with desk.at_work():
        await server.visit(1)
        assert desk.of("lost")[0]["reason"] == "no pong within 0.05 s"
        server.pongs = True


async def test_it_pings_again_and_again(server, tmp_path):
    async with Desk(server.url, tmp_path).at_work():
        visit = await server.visit()
        await until(lambda: visit.texts.count('{"type":"ping"}') >= 4)
        assert len(server.visits) == 1


async def test_after_a_restart_of_the_server_it_is_back_at_once(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await until(lambda: visit.texts)
        await until(lambda: visit.frames and desk.of("connected"))
        await visit.socket.close(1012, "server restarting")
        await server.visit(1)
        assert desk.of("lost")[0]["delay_s"] == 0


async def test_a_server_that_only_ever_restarts_is_spared(server, tmp_path):
    server.close_with = [1012] * 4
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        await server.visit(4)
        assert [lost["delay_s"] for lost in desk.of("lost")] == [0, 0.01, 0.02, 0.04]


@pytest.mark.parametrize("code", [4001, 1008])
async def test_a_refusal_after_opening_does_not_make_it_quick(server, tmp_path, code, caplog):
    server.close_with = [code] * 5
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        await server.visit(5)
        assert [lost["delay_s"] for lost in desk.of("lost")] == [0.01, 0.02, 0.04, 0.08, 0.08]
    complaint = "Authorization header" if code == 4001 else "refuses the secret or the agent id"
    assert any(complaint in r.getMessage() and r.levelname == "WARNING" for r in caplog.records)


async def test_a_refused_handshake_is_tried_ever_more_slowly_until_it_opens(server, tmp_path):
    server.refuse = 429
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        await until(lambda: len(desk.of("lost")) >= 5)
        server.refuse = 0
        visit = await server.visit()
        await until(lambda: visit.texts)
        lost = desk.of("lost")
        assert [loss["delay_s"] for loss in lost[:5]] == [0.01, 0.02, 0.04, 0.08, 0.08]
        assert {loss["status"] for loss in lost} == {429}
        await server.drop()
        await server.visit(1)
        assert desk.of("lost")[len(lost)]["delay_s"] == 0.01, "an open socket begins anew"


@pytest.mark.parametrize(
    ("failures", "chance", "delay_s"),
    [(1, 0, 1), (2, 0, 2), (3, 1, 5), (6, 0, 32), (7, 0, 60), (7, 1, 75), (5000, 0, 60)],
)
def test_the_delays_are_those_of_the_specification(failures, chance, delay_s):
    assert Timing().delay_s(failures, chance) == delay_s


async def test_a_newer_connection_ends_it(server, tmp_path):
    desk = Desk(server.url, tmp_path)
    async with desk.at_work() as task:
        visit = await server.visit()
        await visit.socket.close(4009, "replaced by a newer connection")
        with pytest.raises(Replaced, match="edge_1: 4009 replaced by a newer connection"):
            await asyncio.wait_for(asyncio.shield(task), 5)
        assert server.attempts == 1


async def test_a_redirect_is_not_followed(server, tmp_path):
    async with EdgeServer() as elsewhere:
        server.refuse, server.refuse_headers = 302, {"Location": elsewhere.url}
        desk = Desk(server.url, tmp_path)
        async with desk.at_work():
            await until(lambda: desk.of("lost"))
            assert desk.of("lost")[0]["status"] == 302
        assert elsewhere.attempts == 0


async def test_it_leaves_in_order(server, tmp_path):
    desk = Desk(server.url, tmp_path, status=lambda: {"memory_usage_mb": 45})
    async with desk.at_work() as task:
        visit = await server.visit()
        await visit.say(
            command("c1", "slow"),
            command("c2", "schedule_message", send_at="2025-11-15T12:30:00Z"),
        )
        await visit.acked(1)
        desk.agent.stop()
        before = len(visit.texts)
        await until(lambda: len(visit.texts) >= before + 3)  # it stays while something acts
        assert not [frame for frame in visit.frames if frame["type"] == "status"]
        desk.gate.set()
        await asyncio.wait_for(task, 5)
        await visit.socket.wait_closed()
        (status,) = [frame["data"] for frame in visit.frames if frame["type"] == "status"]
        assert status == {"scheduled_messages": 1, "uptime_seconds": 0, "memory_usage_mb": 45}
        assert visit.acks[-1]["command_id"] == "c1"
        assert visit.socket.close_code == 1000


async def test_a_status_is_sent_now_and_then_when_asked_for(server, tmp_path):
    async with Desk(server.url, tmp_path, status_every_s=0.02).at_work():
        visit = await server.visit()
        await until(lambda: [f for f in visit.frames if f["type"] == "status"])


async def test_a_disk_that_fails_ends_it_before_it_acts(server, tmp_path, monkeypatch):
    desk = Desk(server.url, tmp_path)
    task = asyncio.create_task(desk.agent.run())
    visit = await server.visit()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Ledger, "record", full)
    await visit.say(command("c1"))
    with pytest.raises(OSError, match="disk"):
        await asyncio.wait_for(task, 5)
    assert not desk.acted and not visit.acks
