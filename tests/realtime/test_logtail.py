"""Log lines for who follows them: the right ones, bounded, and nothing while nobody follows."""

from __future__ import annotations

import asyncio
import io
import logging
import logging.config
import threading

import pytest

from config.logs import REDACTED, configuration
from realtime import logtail
from realtime.bus.hub import Hub
from realtime.core import addresses, loglines
from realtime.core.events import Event
from realtime.logtail import LogTail, shown
from tests.doubles import until


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


class Following:
    """A tail with a hub; `lines(account)` is what its followers were told."""

    def __init__(self):
        self.hub, self.clock, self.here = Hub(), Clock(), set()
        self.tail = LogTail(self.hub, here=self.here.__contains__, now=self.clock)
        self.told = {account: [] for account in ("default", "other", "")}
        self.wishes = []
        for account, lines in self.told.items():
            self.hub.join_here(addresses.logs(account), lines.append)
        self.hub.join_here(addresses.nodes(), self._heard)

    def _heard(self, event):
        self.wishes.append(event)
        self.tail.heard(event)

    def follow(self, *accounts, connection="c1", level="info"):
        data = {"connection": connection, "accounts": list(accounts), "level": level}
        self.tail.heard(Event(loglines.FOLLOW, data))

    def unfollow(self, connection="c1"):
        self.tail.heard(Event(loglines.UNFOLLOW, {"connection": connection}))

    def lines(self, account="default"):
        return [event.data for event in self.told[account]]

    def names(self, account="default"):
        return [line["event"] for line in self.lines(account)]


@pytest.fixture
async def following():
    return Following()


def line(event="x", **fields):
    return {"event": event, "level": "info", "timestamp": "2026-11-21T12:00:00Z", **fields}


async def settled():
    """The loop has done what it was handed."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(done.set)
    await done.wait()


async def test_nobody_is_told_while_nobody_follows(following, monkeypatch):
    monkeypatch.setattr(logtail, "shown", lambda line: pytest.fail("nothing may be made"))
    following.tail.offer(line(account="default"))
    following.follow("other")
    following.tail.offer(line(account="default"))
    await settled()
    assert following.told == {"default": [], "other": [], "": []}


async def test_each_line_goes_to_its_own_account(following):
    following.follow("default", "")
    following.follow("other", connection="c2")
    for name, fields in {
        "ours": {"account": "default"},
        "theirs": {"account": "other"},
        "nobodys": {},
        "strangers": {"address": "192.0.2.1", "user": ""},
    }.items():
        following.tail.offer(line(name, **fields))
    await settled()
    assert following.names("default") == ["ours"]
    assert following.names("other") == ["theirs"]
    assert following.names("") == ["nobodys", "strangers"]


async def test_a_line_about_a_person_of_no_named_account_is_told_to_nobody(following):
    following.follow("default", "")
    following.tail.offer(line(user="carol"))
    await settled()
    assert following.told == {"default": [], "other": [], "": []}


async def test_only_levels_that_somebody_wants_travel(following):
    following.follow("default", level="error")
    following.tail.offer(line("low", level="warning", account="default"))
    following.follow("default", connection="c2", level="warning")
    following.tail.offer(line("high", level="warning", account="default"))
    await settled()
    assert following.names() == ["high"]


async def test_a_wish_ends_when_it_is_taken_back(following):
    following.follow("default")
    following.follow("default", connection="c2")
    following.unfollow()
    following.tail.offer(line("still", account="default"))
    following.unfollow("c2")
    following.tail.offer(line("no more", account="default"))
    await settled()
    assert following.names() == ["still"]


async def test_a_wish_lapses_after_thirty_seconds_without_renewal(following):
    following.follow("default", connection="elsewhere")
    following.clock.now_s += 29.9
    await following.tail.renew()
    following.tail.offer(line("within", account="default"))
    following.clock.now_s += 0.2
    await following.tail.renew()
    following.tail.offer(line("after", account="default"))
    await settled()
    assert following.names() == ["within"]
    assert following.wishes == [], "another process's wish is renewed there"


async def test_the_process_of_a_follower_renews_its_wish(following):
    following.follow("default")
    following.here.add("c1")
    for _ in range(5):
        following.clock.now_s += 10
        await following.tail.renew()
    assert [event.data["connection"] for event in following.wishes] == ["c1"] * 5
    following.tail.offer(line("told", account="default"))
    following.here.clear()  # the socket has ended
    following.clock.now_s += 31
    await following.tail.renew()
    following.tail.offer(line("not told", account="default"))
    await settled()
    assert following.names() == ["told"]


async def test_fifty_lines_a_second_and_then_how_many_were_left_out(following):
    following.follow("default")
    for number in range(60):
        following.tail.offer(line(str(number), account="default"))
    await settled()
    assert following.names() == [str(number) for number in range(50)]
    following.clock.now_s += 1
    following.tail.offer(line("next", account="default"))
    await settled()
    left_out, following_one = following.lines()[50:]
    assert (left_out["event"], left_out["lines"], left_out["level"]) == (
        "log.left_out",
        10,
        "warning",
    )
    assert left_out["time"].endswith("Z")
    assert following_one["event"] == "next"


async def test_what_was_left_out_is_told_though_no_line_follows():
    following = Following()
    following.tail = LogTail(following.hub, here=set().__contains__)  # the real clock
    following.follow("default")
    for number in range(51):
        following.tail.offer(line(str(number), account="default"))
    await until(lambda: "log.left_out" in following.names())
    assert following.lines()[-1]["lines"] == 1


async def test_what_waits_for_the_loop_is_bounded(following):
    following.follow("default")
    for number in range(logtail.MAX_WAITING + 7):  # the loop is busy meanwhile
        following.tail.offer(line(str(number), account="default"))
    assert len(following.tail._waiting) == logtail.MAX_WAITING
    await settled()
    following.clock.now_s += 1
    following.tail.offer(line("next", account="default"))
    await settled()
    told = [one["lines"] for one in following.lines() if one["event"] == "log.left_out"]
    assert sum(told) == logtail.MAX_WAITING + 7 - 50


async def test_lines_of_other_threads_are_told_here(following):
    following.follow("default")
    offer = following.tail.offer
    threads = [
        threading.Thread(target=lambda: [offer(line(account="default")) for _ in range(10)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await until(lambda: len(following.lines()) == 40)


async def test_telling_a_line_never_causes_a_line(following):
    def breaks(event):
        following.tail.offer(line("caused", account="default"))
        raise ValueError

    following.hub.join_here(addresses.logs("default"), breaks)
    following.follow("default", "")
    logtail.use(following.tail)
    try:
        following.tail.offer(line("cause", account="default"))
        await settled()
        await settled()
    finally:
        logtail.use(None)
    assert following.names() == ["cause"]
    assert following.names("") == [], "not even the hub's complaint about the broken member"


def test_a_line_is_bounded_and_can_be_carried():
    made = shown(
        line(
            "x" * 5000,
            big=2**63,
            nan=float("nan"),
            lone="\ud800",
            many=list(range(3)),
            good=True,
            none=None,
            share=0.5,
            **{f"n{number}": number for number in range(40)},
        )
    )
    assert list(made)[:3] == ["time", "level", "event"]
    assert len(made["event"]) == logtail.MAX_TEXT + 1
    assert (made["big"], made["nan"], made["lone"]) == (str(2**63), "nan", "?")
    assert (made["many"], made["good"], made["none"], made["share"]) == (
        "[0, 1, 2]",
        True,
        None,
        0.5,
    )
    assert len(made) == 3 + logtail.MAX_FIELDS


@pytest.fixture
def logger():
    """A logger as the deployment sets it up, writing to nowhere."""
    handler = logging.StreamHandler(io.StringIO())
    wanted = configuration("json", testing=True)["formatters"]["gateway"]
    handler.setFormatter(logging.config.DictConfigurator({}).configure_formatter(wanted))
    logger = logging.getLogger("tests.logtail")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


async def test_what_is_told_is_redacted(following, logger):
    following.follow("")
    logtail.use(following.tail)
    try:
        logger.warning("GET /ws?token=s3cret", extra={"api_key": "s3cret", "path": "/ws"})
        await settled()
    finally:
        logtail.use(None)
    [told] = following.lines("")
    assert told.pop("time")
    assert told == {
        "level": "warning",
        "event": f"GET /ws?{REDACTED}",
        "api_key": REDACTED,
        "path": "/ws",
    }


async def test_a_line_is_written_whatever_becomes_of_its_copy(following, logger, monkeypatch):
    following.follow("")
    monkeypatch.setattr(logtail, "shown", lambda line: 1 / 0)
    logtail.use(following.tail)
    try:
        logger.warning("written")
    finally:
        logtail.use(None)
    assert "written" in logger.handlers[0].stream.getvalue()
