"""The history of one process, against a list that forgets nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from realtime.bus.history import history_of
from realtime.bus.history.keeping import Bounds, Nothing
from realtime.bus.history.memory import Memory
from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.events import Event
from realtime.core.history import (
    EPOCH,
    EXPIRED,
    FUTURE,
    OFF,
    REASONS,
    TRIMMED,
    Gap,
    Position,
    Recovered,
)

TEAM, OTHER = addresses.topic("nexus:a", "team ü"), addresses.topic("nexus:a", "other")


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def a_memory(clock=None, **bounds):
    memory = Memory(Bounds(**bounds), clock=clock or Clock())
    memory.attach(lambda *_: None, lambda *_: None, lambda _: True)
    return memory


def say(memory, *texts, address=TEAM):
    return [memory.append(address, Event("said", {"text": text})) for text in texts]


async def ask(memory, address=TEAM):
    """From now on something is kept."""
    await memory.since(address, None)


def texts(outcome):
    assert isinstance(outcome, Recovered), outcome
    return [event.data["text"] for event in outcome.events]


async def test_what_was_missed_comes_back_in_order_with_its_numbers():
    memory = a_memory()
    await ask(memory)
    first, _, last = say(memory, "a", "b", "c")
    outcome = await memory.since(TEAM, first)
    assert texts(outcome) == ["b", "c"]
    assert outcome.position == last == Position(first.epoch, 3)
    assert [event.position.offset for event in outcome.events] == [2, 3]


async def test_who_asks_where_it_is_can_recover_from_there():
    memory = a_memory()
    here = (await memory.since(TEAM, None)).position
    assert here.offset == 0
    say(memory, "a")
    assert texts(await memory.since(TEAM, here)) == ["a"]


async def test_addresses_are_numbered_apart():
    memory = a_memory()
    (here,) = say(memory, "a")
    (there,) = say(memory, "b", address=OTHER)
    assert here.offset == there.offset == 1
    assert here.epoch != there.epoch


async def test_where_nobody_has_asked_nothing_is_kept_and_that_is_a_gap():
    memory = a_memory()
    first, _ = say(memory, "a", "b")
    assert memory.total_bytes == 0
    assert (await memory.since(TEAM, first)).reason == EXPIRED
    say(memory, "c")
    assert texts(await memory.since(TEAM, Position(first.epoch, 2))) == ["c"]
    assert (await memory.since(TEAM, first)).reason == EXPIRED


async def test_more_than_is_kept_is_a_gap():
    memory = a_memory(size=2)
    await ask(memory)
    first, second, _, _ = say(memory, *"abcd")
    assert (await memory.since(TEAM, first)).reason == TRIMMED
    assert texts(await memory.since(TEAM, second)) == ["c", "d"]


async def test_more_bytes_than_are_kept_are_a_gap():
    memory = a_memory(max_bytes=200)
    await ask(memory)
    first, second, _ = say(memory, "a" * 100, "b" * 100, "c" * 100)
    assert (await memory.since(TEAM, first)).reason == TRIMMED
    assert texts(await memory.since(TEAM, second)) == ["c" * 100]


async def test_one_message_larger_than_all_that_is_kept_is_a_gap():
    memory = a_memory(max_bytes=50)
    here = (await memory.since(TEAM, None)).position
    say(memory, "a" * 100)
    assert (await memory.since(TEAM, here)).reason == TRIMMED


async def test_what_is_too_old_is_a_gap_also_when_newer_messages_are_there():
    clock = Clock()
    memory = a_memory(clock, ttl_s=10)
    here = (await memory.since(TEAM, None)).position
    say(memory, "a")
    clock.now_s += 6
    second, third = say(memory, "b", "c")
    clock.now_s += 6
    assert (await memory.since(TEAM, here)).reason == EXPIRED
    assert texts(await memory.since(TEAM, second)) == ["c"]
    clock.now_s += 6
    assert (await memory.since(TEAM, second)).reason == EXPIRED
    assert texts(await memory.since(TEAM, third)) == [], "nothing was missed, however long ago"


async def test_an_offset_that_nobody_has_had_is_a_gap():
    memory = a_memory()
    (here,) = say(memory, "a")
    assert await memory.since(TEAM, Position(here.epoch, 2)) == Gap(FUTURE, here)


async def test_another_process_is_another_epoch():
    (before,) = say(a_memory(), "a")
    memory = a_memory()
    (here,) = say(memory, "a")
    assert await memory.since(TEAM, before) == Gap(EPOCH, here)


async def test_an_address_that_is_long_idle_is_forgotten():
    clock = Clock()
    memory = a_memory(clock, ttl_s=10)
    (here,) = say(memory, "a")
    clock.now_s += 3601
    assert (await memory.since(TEAM, here)).reason == EPOCH
    assert memory.total_bytes == 0


async def test_memory_is_bounded_whatever_is_said_where():
    memory = Memory(Bounds(total_bytes=2000), max_addresses=10)
    for number in range(100):
        place = addresses.topic("r", str(number))
        await ask(memory, place)
        say(memory, "x" * 90, address=place)
        assert memory.total_bytes <= 2000
    assert len(memory._kept) <= 10
    for _ in range(100):
        say(memory, "x" * 90)
    assert memory.total_bytes <= 2000


async def test_what_was_said_cannot_be_changed_afterwards():
    memory, event = a_memory(), Event("said", {"text": "a"})
    here = (await memory.since(TEAM, None)).position
    memory.append(TEAM, event)
    event.data["text"] = "b"
    assert texts(await memory.since(TEAM, here)) == ["a"]


async def test_the_members_hear_the_number_and_the_publisher_learns_it():
    hub, heard = Hub(history=Memory(Bounds())), []
    await hub.join(TEAM, heard.append)
    position = await hub.append(TEAM, Event("said", {"text": "a"}))
    assert [event.position for event in heard] == [position]
    assert position.offset == 1


async def test_turned_off_it_publishes_unnumbered_and_recovers_nothing():
    history = history_of(Bounds(size=0), "", None)
    hub, heard = Hub(history=history), []
    await hub.join(TEAM, heard.append)
    assert await hub.append(TEAM, Event("said")) is None
    assert heard == [Event("said")]
    assert await hub.since(TEAM, Position("e", 1)) == Gap(OFF)
    assert isinstance(history_of(Bounds(ttl_s=0), "", None), Nothing)


async def test_turned_off_here_it_still_hears_what_another_process_numbers():
    hub, heard = Hub(), []
    await hub.join(TEAM, heard.append)
    hub.history.arrived({"address": TEAM.pack(), "event": Event("said").pack(), "at": ["e", 1]})
    assert [event.name for event in heard] == ["said"]


def test_every_reason_has_its_words():
    assert all(REASONS.values())


@given(st.lists(st.booleans(), max_size=40))
async def test_live_and_replay_together_are_everything_once(steps):
    """True: something is said; False: the subscriber goes, or comes back and recovers."""
    hub, heard, last, here = Hub(history=Memory(Bounds(size=1000))), [], None, True
    outcome, gate = await hub.recover(TEAM, heard.append, None)
    gate.open()
    last, number = outcome.position, 0
    for says in [*steps, False, False]:
        if says:
            number += 1
            hub.record(TEAM, Event("said", {"n": number}))
        elif here:
            here = False
            await hub.leave(TEAM, heard.append)
        else:
            here = True
            last = heard[-1].position if heard else last
            outcome, gate = await hub.recover(TEAM, heard.append, last)
            heard.extend(outcome.events)
            gate.open()
    if not here:
        outcome, gate = await hub.recover(TEAM, heard.append, heard[-1].position if heard else last)
        heard.extend(outcome.events)
    assert [event.data["n"] for event in heard] == list(range(1, number + 1))


def at_once(coroutine):
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


class MemoryMachine(RuleBasedStateMachine):
    """Whatever happens, who recovers gets all that was said after its position, or a gap; no gap
    where the bounds would not have it.
    """

    SIZE, TTL_S = 5, 10

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.restart()

    @rule()
    def restart(self):
        self.memory = a_memory(self.clock, size=self.SIZE, ttl_s=self.TTL_S)
        self.said = []  # (position, text, moment), of this epoch
        self.asked, self.unkept = "", 0  # the epoch in which somebody has; the last said before
        if not hasattr(self, "known"):
            self.known = []
        self.number = getattr(self, "number", 0)

    @rule(times=st.integers(1, 7))
    def say(self, times):
        for _ in range(times):
            self.number += 1
            (position,) = say(self.memory, f"{self.number}")
            if self.said and position.epoch != self.said[0][0].epoch:
                assert self.clock.now_s - self.said[-1][2] > 3600
                self.said, self.unkept = [], 0
            if self.asked != position.epoch:
                self.unkept = position.offset
            self.said.append((position, f"{self.number}", self.clock.now_s))
            self.known.append(position)

    @rule(seconds=st.sampled_from([1, 4, 11, 3700]))
    def wait(self, seconds):
        self.clock.now_s += seconds

    @rule(data=st.data())
    def recover(self, data):
        if not self.known:
            return
        after = data.draw(st.sampled_from(self.known))
        ahead = data.draw(st.sampled_from([0, 0, 0, 1]))
        after = Position(after.epoch, after.offset + ahead)
        outcome = at_once(self.memory.since(TEAM, after))
        self.asked = outcome.position.epoch
        same = self.said and self.said[0][0].epoch == after.epoch
        missed = [entry for entry in self.said if entry[0].offset > after.offset]
        if isinstance(outcome, Recovered):
            assert same
            assert after.offset <= self.said[-1][0].offset
            assert texts(outcome) == [text for _, text, _ in missed]
            assert [event.position for event in outcome.events] == [at for at, _, _ in missed]
            assert outcome.position == self.said[-1][0]
        elif same and self.clock.now_s - self.said[-1][2] <= 3600:
            future = after.offset > self.said[-1][0].offset
            old = missed and self.clock.now_s - missed[0][2] > self.TTL_S
            unkept = after.offset < self.unkept
            assert future or old or unkept or len(missed) > self.SIZE, outcome
        if self.said and outcome.position.epoch != self.said[0][0].epoch:
            self.said, self.unkept = [], 0

    @invariant()
    def it_is_bounded(self):
        assert all(len(kept.said) <= self.SIZE for kept in self.memory._kept.values())


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
