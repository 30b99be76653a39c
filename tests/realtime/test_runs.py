"""Whatever happens to a run, its asker is answered once and its end is recorded."""

from __future__ import annotations

import asyncio

import pytest

from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.errors import Draining, InternalFault, ResourceExhausted, Revoked
from realtime.core.events import Event
from realtime.runs import Runs
from sessions_app.agents import AgentFailed, Retrying
from sessions_app.services import run_events
from sessions_app.services.sent import Sent
from tests.doubles import until

ALICE = addresses.user("default", "alice")
FACTS = {
    "id": "r1",
    "agent": "scripted",
    "agent_id": "default",
    "account": "default",
    "owner": "alice",
    "session_key": "s",
    "channel": "ws",
    "stream": True,
    "connection": "c1",
}


class Records:
    """`sessions_app.services.runs`, as far as Runs uses it."""

    def __init__(self):
        self.ended, self.failures, self.aborted, self.results = [], 0, False, []

    def begin(self, *, run_id):
        return [], self.aborted

    def finish(self, *, run_id, status, content, usage, error):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        self.ended.append((status, content, error))
        answers = {"completed": {"content": content}, "cancelled": {"cancelled": True}}
        return 7, answers.get(status, {"error": error})

    def result(self, *, run_id):
        return self.results.pop(0)

    def retrying(self, sent, again):
        return Event("agent", {"type": "run.retrying", "attempt": again.attempt})

    def chunk(self, sent, piece):
        return Event("agent", {"type": "chunk", "runId": sent.run_id, "piece": piece})


class Agent:
    """Says its pieces; waits for its gate in front of each."""

    def __init__(self):
        self.gate, self.fault = asyncio.Event(), None

    async def run(self, turn):
        for piece in ("one ", "two"):
            yield piece
            await self.gate.wait()
            if self.fault:
                raise self.fault


@pytest.fixture
def records(monkeypatch):
    records = Records()
    monkeypatch.setattr("realtime.runs.records", records)
    monkeypatch.setattr("realtime.runs.RETRY_S", 0.01)

    async def at_once(function, *args, **kwargs):
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    monkeypatch.setattr("realtime.runs.in_thread", at_once)
    monkeypatch.setattr("realtime.runs.housekeeping", at_once)
    return records


@pytest.fixture
def agent(monkeypatch):
    agent = Agent()
    monkeypatch.setattr("realtime.runs.agent_choice.get", lambda key: agent)
    return agent


@pytest.fixture
def runs(records, agent):
    async def hear(announcement):
        await asyncio.sleep(0)

    return Runs(Hub(), hear)


@pytest.fixture
def sent(monkeypatch):
    monkeypatch.setattr(run_events, "audience", lambda facts: [ALICE])
    names = run_events.RunFacts.__dataclass_fields__
    facts = run_events.RunFacts(**{name: FACTS.get(name, "") for name in names})

    def make(outcome="started", **more):
        return Sent(outcome=outcome, session_key="s", agent_id="default", run=facts, **more)

    return make


async def test_a_run_is_streamed_recorded_and_answered(runs, agent, records, sent):
    heard = []
    await runs._hub.join(ALICE, heard.append)
    answer = runs.answer(sent())
    agent.gate.set()
    assert await answer == {"content": "one two"}
    assert [event.data["piece"] for event in heard] == ["one ", "two"]
    assert (records.ended, runs.active) == ([("completed", "one two", "")], [])


@pytest.mark.parametrize("steps", range(12))
async def test_an_abort_at_any_moment_is_answered_and_recorded(runs, agent, records, sent, steps):
    answer = runs.answer(sent())
    agent.gate.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    runs.abort("r1")
    runs.abort("r1")
    assert await asyncio.wait_for(answer, 30) in ({"cancelled": True}, {"content": "one two"})
    await until(lambda: not runs.active)
    assert len(records.ended) == 1


async def test_an_abort_asked_before_the_process_knew_the_run_is_heeded(runs, records, sent):
    records.aborted = True
    assert await runs.answer(sent()) == {"cancelled": True}


async def test_an_end_that_cannot_be_recorded_is_tried_again(runs, agent, records, sent):
    records.failures = 3
    agent.gate.set()
    assert await runs.answer(sent()) == {"content": "one two"}
    assert len(records.ended) == 1


async def test_an_agent_may_say_why_it_fails(runs, agent, records, sent, caplog):
    agent.fault = AgentFailed("the endpoint is away", detail="refused")
    agent.gate.set()
    with pytest.raises(InternalFault, match="^internal error: the endpoint is away$"):
        await runs.answer(sent())
    assert records.ended == [("failed", "one ", "the endpoint is away")]
    assert "refused" in caplog.text and "Traceback" not in caplog.text


async def test_another_attempt_is_told_whether_pieces_are_or_not(runs, records, sent, monkeypatch):
    class Again:
        async def run(self, turn):
            yield Retrying(2, 3)
            yield "one"

    monkeypatch.setattr("realtime.runs.agent_choice.get", lambda key: Again())
    heard = []
    await runs._hub.join(ALICE, heard.append)
    assert await runs.answer(sent()) == {"content": "one"}
    assert [event.data["type"] for event in heard] == ["run.retrying", "chunk"]


async def test_an_agent_that_fails_is_told_and_recorded(runs, agent, records, sent):
    agent.fault = ZeroDivisionError("secret detail")
    agent.gate.set()
    with pytest.raises(InternalFault, match="internal error: the agent failed"):
        await runs.answer(sent())
    ((status, content, error),) = records.ended
    assert (status, content) == ("failed", "one ")
    assert "secret detail" not in error


async def test_a_drain_lets_runs_end_and_records_the_others_as_failed(runs, agent, records, sent):
    answer = runs.answer(sent())
    await until(lambda: runs.active)
    await runs.drain(0.05, 1)
    assert records.ended == [("failed", "one ", "server restarting")]
    with pytest.raises(InternalFault):
        await answer
    with pytest.raises(Draining):
        runs.refuse_while_draining()


async def test_two_askers_of_one_run_get_one_answer_each(runs, agent, sent):
    first, second = runs.answer(sent()), runs.answer(sent("repeated"))
    agent.gate.set()
    assert await first == await second == {"content": "one two"}


async def test_a_run_elsewhere_is_answered_when_its_end_is_heard(runs, records, sent):
    records.results = [None, None, {"content": "there"}]
    answer = runs.answer(sent("repeated"))
    ended = Event("agent", {"type": "run.completed", "runId": "r1"})
    await asyncio.sleep(0)
    runs._hub.deliver([ALICE], ended)  # while the first look is under way
    await until(lambda: len(records.results) == 1)  # the second look found nothing either
    runs._hub.deliver([ALICE], ended)
    assert await asyncio.wait_for(answer, 30) == {"content": "there"}
    await until(lambda: not runs._hub._members and not runs._elsewhere)


async def test_what_has_ended_is_answered_at_once(runs, sent):
    assert runs.answer(sent("done", result={"content": "x"})) == {"content": "x"}
    with pytest.raises(InternalFault, match="internal error: why"):
        runs.answer(sent("done", result={"error": "why"}))


class Line:
    """`chat.send` for one queued message: busy as often as `outcomes` says."""

    def __init__(self, sent, *outcomes):
        self._sent, self.outcomes, self.calls = sent, list(outcomes), 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(0)
        return self._sent(self.outcomes.pop(0))


async def test_a_message_that_must_wait_gets_a_run_of_its_own(runs, agent, records, sent):
    first = runs.answer(sent())
    line = Line(sent, "started")
    second = runs.queue(sent("busy"), line)
    await until(lambda: records.ended == [] and runs.active)
    assert line.calls == 0, "while the run is under way"
    agent.gate.set()
    assert await first == {"content": "one two"}
    assert await second == {"content": "one two"}
    assert (len(records.ended), line.calls) == (2, 1)
    await until(lambda: not runs._queued)


async def test_a_message_that_came_second_again_waits_again(runs, agent, records, sent):
    records.results = [{"content": "there"}, {"content": "there too"}]
    agent.gate.set()
    line = Line(sent, "busy", "started")
    assert await runs.queue(sent("busy"), line) == {"content": "one two"}
    assert line.calls == 2


async def test_what_waits_takes_turns_in_the_order_it_came(runs, agent, sent):
    order = []

    def line(name, steps):
        async def send():
            for _ in range(steps):
                await asyncio.sleep(0)
            order.append(name)
            return sent("done")

        return send

    runs.answer(sent())
    waiting = [runs.queue(sent("busy"), line(steps, steps)) for steps in (9, 5, 0)]
    agent.gate.set()
    await asyncio.gather(*waiting)
    assert order == [9, 5, 0]


async def test_a_refusal_does_not_hold_up_who_comes_next(runs, agent, sent):
    async def refused():
        raise Revoked

    runs.answer(sent())
    first = runs.queue(sent("busy"), refused)
    second = runs.queue(sent("busy"), Line(sent, "done"))
    agent.gate.set()
    assert await second == {}
    with pytest.raises(Revoked):
        await first


async def test_how_the_other_run_ended_is_no_matter(runs, agent, sent):
    first = runs.answer(sent())
    second = runs.queue(sent("busy"), Line(sent, "done"))
    agent.fault = ZeroDivisionError()
    agent.gate.set()
    with pytest.raises(InternalFault):
        await first
    assert await second == {}


async def test_what_waits_for_a_session_is_bounded(runs, agent, sent):
    runs.answer(sent())
    waiting = [runs.queue(sent("busy"), Line(sent, "done")) for _ in range(10)]
    with pytest.raises(ResourceExhausted):
        runs.queue(sent("busy"), Line(sent, "done"))
    agent.gate.set()
    await asyncio.gather(*waiting)
    await until(lambda: not runs._queued)


async def test_a_drain_answers_what_waits(runs, sent):
    runs.answer(sent())
    line = Line(sent, "started")
    waiting = runs.queue(sent("busy"), line)
    await until(lambda: runs.active)
    await runs.drain(0.05, 1)
    with pytest.raises(Draining):
        await waiting
    assert line.calls == 0


async def test_a_refusal_of_what_waited_is_its_answer(runs, agent, sent):
    async def refused():
        raise Revoked

    runs.answer(sent())
    waiting = runs.queue(sent("busy"), refused)
    agent.gate.set()
    with pytest.raises(Revoked):
        await waiting


async def test_a_drain_answers_what_waits_for_another_process(runs, records, sent):
    records.results = [None]
    waiting = runs.queue(sent("busy"), Line(sent, "started"))
    await until(lambda: not records.results)
    await runs.drain(0.05, 1)
    with pytest.raises(Draining):
        await asyncio.wait_for(waiting, 30)
    records.results = [{"content": "there"}]  # lets the look at the other process end
    runs._hub.deliver([ALICE], Event("agent", {"type": "run.completed", "runId": "r1"}))
    await until(lambda: not runs._elsewhere)
