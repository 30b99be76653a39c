"""The Python edge agent stays, comes back and leaves as it should, whatever the server does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.desk import NOON, Desk
from tests.clients.far_end import PATIENCE_S, EdgeServer, command, until
from trunkline_client import Ledger, Replaced, Timing


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
            await asyncio.wait_for(asyncio.shield(task), PATIENCE_S)
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
        await desk.begun.wait()
        desk.agent.stop()
        before = len(visit.texts)
        await until(lambda: len(visit.texts) >= before + 3)  # it stays while something acts
        assert not [frame for frame in visit.frames if frame["type"] == "status"]
        desk.gate.set()
        await asyncio.wait_for(task, PATIENCE_S)
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
        await asyncio.wait_for(task, PATIENCE_S)
    assert not desk.acted and not visit.acks


# --- handlers and functions that do not do as they should ---


def hang(desk: Desk, kind: str = "hang") -> threading.Event:
    """A plain handler that is stuck until the event is set."""
    free = threading.Event()

    @desk.agent.on(kind)
    def stuck(command):
        desk.acted.append(command.id)
        free.wait(30)

    return free


async def test_handlers_that_hang_leave_the_secret_and_the_connection_alone(server, tmp_path):
    asked = []

    def secret():
        asked.append(threading.current_thread())
        return "s"

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    desk = Desk(server.url, tmp_path, secret=secret)
    free = hang(desk)
    async with desk.at_work():
        visit = await server.visit()
        names = ["h1", "h2", "h3"]
        await visit.say(*(command(name, "hang") for name in names))
        await until(lambda: len(desk.acted) == len(names), "all of them")
        await server.drop()
        again = await server.visit(1)
        assert len(asked) == 2 and threading.main_thread() not in asked
        free.set()
        await again.acked(len(names))


async def test_a_handler_that_hangs_is_waited_for_as_long_as_was_said(server, tmp_path):
    desk = Desk(server.url, tmp_path, grace_s=0.05)
    free = hang(desk)
    async with desk.at_work() as task:
        visit = await server.visit()
        await visit.say(command("h", "hang"))
        await until(lambda: desk.acted)
        desk.agent.stop()
        await asyncio.wait_for(task, PATIENCE_S)
        assert visit.acks == []
        assert [f for f in visit.frames if f["type"] == "status"], "and it still says good-bye"
    free.set()
    second = Desk(server.url, tmp_path)
    hang(second)
    async with second.at_work():
        (ack,) = await (await server.visit(1)).acked(1)
        assert ack["status"] == "failed" and ack["error"].startswith("Interrupted: ")
        assert second.acted == []


@pytest.mark.parametrize("complaint", [SystemExit(3), StopIteration()])
async def test_what_ends_a_program_only_fails_the_command_of_a_plain_handler(
    server, tmp_path, complaint
):
    desk = Desk(server.url, tmp_path)

    @desk.agent.on("leave")
    def leave(command):
        raise complaint

    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1", "leave", thread_id="t"), command("c2", thread_id="t"))
        first, second = await visit.acked(2)
        assert first["error"].startswith(type(complaint).__name__)
        assert second["status"] == "completed"


@pytest.mark.parametrize("told", [lambda: 1 / 0, lambda: {"load": {1, 2}}, lambda: None])
async def test_a_status_that_fails_is_sent_without_and_holds_up_nothing(
    server, tmp_path, told, caplog
):
    desk = Desk(server.url, tmp_path, status=told)
    async with desk.at_work() as task:
        visit = await server.visit()
        await visit.say(command("c1"))
        await visit.acked(1)
        desk.agent.stop()
        await asyncio.wait_for(task, PATIENCE_S)
        await visit.socket.wait_closed()
        (status,) = [frame["data"] for frame in visit.frames if frame["type"] == "status"]
        assert status == {"scheduled_messages": 0, "uptime_seconds": 0}
        assert visit.socket.close_code == 1000
    assert "edge_1: `status` failed" in [r.getMessage() for r in caplog.records]


async def test_what_is_old_is_forgotten_while_it_runs(server, tmp_path, monkeypatch, read):
    monkeypatch.setattr("trunkline_client.conversation.PRUNE_EVERY_S", 0.01)
    until_when = []
    prune = Ledger.prune

    def noted(ledger, before):
        prune(ledger, before)
        until_when.append(before)

    monkeypatch.setattr(Ledger, "prune", noted)
    desk = Desk(server.url, tmp_path)
    async with desk.at_work():
        visit = await server.visit()
        await visit.say(command("c1"))
        await visit.acked(1)
        await until(lambda: read)
        desk.clock.at += 31 * 86_400
        await until(lambda: until_when[-1] > NOON)
        await visit.say(command("c1"))
        await until(lambda: desk.acted == ["c1", "c1"])
