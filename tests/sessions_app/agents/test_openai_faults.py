"""The agent `openai` where its endpoint errs: what is tried again, and what fails the run."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from email.utils import format_datetime

import pytest

from sessions_app.agents import Retrying, Turn
from sessions_app.agents.endpoint import Endpoint, Limits
from sessions_app.agents.openai import OpenAI
from tests.sessions_app.agents.asking import KEY, Serve, failure, spoken
from tests.sessions_app.agents.upstream import (
    Line,
    broken_off,
    good,
    refusing,
    writing,
)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_what_failed_before_the_first_piece_is_tried_again(serve: Serve, status: int) -> None:
    upstream, agent = await serve(refusing(status), refusing(status), good)
    pieces = await spoken(agent)
    assert pieces[:2] == [Retrying(2, 3), Retrying(3, 3)]
    assert "".join(map(str, pieces[2:])) == "Hello world"
    assert len(upstream.lines) == 3


async def test_nothing_stays_open_while_another_attempt_is_waited_for(serve: Serve) -> None:
    async def script(line: Line) -> None:
        await line.head(503, "application/json", Retry_After="20")
        while not line.gone.is_set():
            await line.raw(b"x" * 4096)

    upstream, agent = await serve(script)
    answer = agent.run(Turn(message="hi"))
    assert await anext(answer) == Retrying(2, 3)
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 30)
    await answer.aclose()


async def test_after_the_last_attempt_the_run_fails(serve: Serve) -> None:
    upstream, agent = await serve(refusing(500, f"oh no {KEY}"), attempts=2)
    assert await failure(agent) == ("the model's endpoint answered 500", [Retrying(2, 2)])
    assert len(upstream.lines) == 2


async def test_an_endpoint_that_is_not_there_is_tried_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = Endpoint("openai", f"http://127.0.0.1:{nobody.getsockname()[1]}", "m")
        agent = OpenAI(endpoint, Limits(attempts=2, backoff_s=0.01))
        words, pieces = await failure(agent)
    assert (words, pieces) == ("the model's endpoint cannot be reached", [Retrying(2, 2)])


async def test_a_connection_that_is_cut_before_the_first_piece_is_tried_again(
    serve: Serve,
) -> None:
    async def cut(line: Line) -> None:
        await line.head()

    async def slammed(line: Line) -> None:
        pass

    _, agent = await serve(cut, slammed, good)
    assert await spoken(agent) == [Retrying(2, 3), Retrying(3, 3), "Hello ", "world"]


async def test_an_error_in_the_stream_is_tried_again_before_the_first_piece_only(
    serve: Serve,
) -> None:
    error = b'data: {"error":{"message":"overloaded","code":503}}\n\n'
    _, agent = await serve(writing(error), good)
    assert (await spoken(agent))[0] == Retrying(2, 3)
    said = b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n'
    upstream, agent = await serve(writing(said, error))
    assert await failure(agent) == ("the model's endpoint reported an error", ["half"])
    assert len(upstream.lines) == 1


def in_seconds(seconds: int) -> str:
    """To be asked for in a test: the whole run takes its time after the tests are collected."""
    return format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("date", [False, True])
async def test_the_wait_that_an_endpoint_asks_for_is_kept(serve: Serve, date: bool) -> None:
    asked = in_seconds(2) if date else "1"
    upstream, agent = await serve(refusing(429, Retry_After=asked), good)
    loop = asyncio.get_running_loop()
    answer = agent.run(Turn(message="hi"))
    assert await anext(answer) == Retrying(2, 3)
    began = loop.time()
    assert await anext(answer) == "Hello "
    assert len(upstream.lines) == 2
    assert date or 0.5 < loop.time() - began < 20
    await answer.aclose()


@pytest.mark.parametrize("asked", ["3600", "99999999999999999999", ""])
async def test_a_wait_that_is_too_long_fails_at_once(serve: Serve, asked: str) -> None:
    upstream, agent = await serve(refusing(429, Retry_After=asked or in_seconds(3600)))
    words, pieces = await failure(agent)
    assert words.startswith("the model's endpoint answered 429: try again in ")
    assert (pieces, len(upstream.lines)) == ([], 1)


@pytest.mark.parametrize("asked", ["soon", "-1", "²", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_senseless_wait_is_passed_over(serve: Serve, asked: str) -> None:
    async def script(line: Line) -> None:
        await line.refuse(503, Retry_After=asked)

    _, agent = await serve(script, good)
    assert (await spoken(agent))[0] == Retrying(2, 3)


async def test_no_attempt_is_made_for_which_no_time_is_left(serve: Serve) -> None:
    upstream, agent = await serve(refusing(503, Retry_After="20"), whole_s=5)
    assert await failure(agent) == ("the model's endpoint answered 503", [])
    assert len(upstream.lines) == 1


# --- what cannot go better another time ---


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (400, "too long", "the model's endpoint answered 400: too long"),
        (404, f"no model\n{KEY}  here\x1b", "the model's endpoint answered 404: no model … here"),
        (400, "x" * 999, "the model's endpoint answered 400: " + "x" * 200),
        (401, f"wrong key: {KEY}", "the model's endpoint refused the key (401)"),
        (403, "", "the model's endpoint refused the key (403)"),
        (402, "the bill", "the model's endpoint answered 402"),
        (204, "", "the model's endpoint answered 204"),
    ],
)
async def test_a_refusal_fails_the_run_at_once(
    serve: Serve, status: int, message: str, words: str
) -> None:
    upstream, agent = await serve(refusing(status, message))
    assert await failure(agent) == (words, [])
    assert len(upstream.lines) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_the_key_is_not_carried_to_where_a_redirect_points(serve: Serve, status: int) -> None:
    other, _ = await serve(good)
    upstream, agent = await serve(refusing(status, Location=f"{other.url}/chat/completions"))
    words = f"the model's endpoint answered {status}: a redirect, which is not followed"
    assert await failure(agent) == (words, [])
    assert (len(upstream.lines), other.lines) == (1, [])


@pytest.mark.parametrize(
    "said",
    [
        b"data: what?\n\n",
        b"data: []\n\n",
        b'data: {"choices":[{"delta":{"content":5}}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":-5}}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"x":' + b"[" * 5000 + b"}\n\n",
        b"data: " + b"x" * (1024 * 1024),
    ],
)
async def test_garbage_fails_the_run(serve: Serve, said: bytes) -> None:
    upstream, agent = await serve(writing(said))
    assert await failure(agent) == ("the model's endpoint sent what is no answer", [])
    assert len(upstream.lines) == 1


async def test_a_page_is_no_answer(serve: Serve) -> None:
    async def script(line: Line) -> None:
        await line.head(kind="text/html")
        await line.raw(b"<h1>Welcome</h1>")
        await line.end()

    _, agent = await serve(script)
    assert await failure(agent) == ("the model's endpoint does not stream its answer", [])


async def test_an_error_without_an_end_is_read_no_further(serve: Serve) -> None:
    async def script(line: Line) -> None:
        await line.head(400, "application/json")
        while not line.gone.is_set():
            await line.raw(b"x" * 4096)

    upstream, agent = await serve(script)
    assert await failure(agent) == ("the model's endpoint answered 400", [])
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 30)


async def test_an_answer_that_breaks_off_fails_and_keeps_what_was_said(serve: Serve) -> None:
    said = b'data: {"choices":[{"delta":{"content":"Hello "}}]}\n\n'
    for script in (broken_off, writing(said)):
        upstream, agent = await serve(script)
        words = "the answer of the model's endpoint broke off"
        assert await failure(agent) == (words, ["Hello "])
        assert len(upstream.lines) == 1


@pytest.mark.parametrize("wrong", [b"data: what?\n\n", b'data: {"error":{"code":503}}\n\n'])
async def test_what_was_said_before_a_fault_is_kept_though_both_come_at_once(
    serve: Serve, wrong: bytes
) -> None:
    said = b'data: {"choices":[{"delta":{"content":"Hello "}}]}\n\n'
    upstream, agent = await serve(writing(said + wrong))
    assert (await failure(agent))[1] == ["Hello "]
    assert len(upstream.lines) == 1


async def test_an_answer_is_cut_off_where_it_is_too_long(serve: Serve) -> None:
    async def script(line: Line) -> None:
        await line.head()
        while not line.gone.is_set():
            await line.say("0123456789")

    upstream, agent = await serve(script, answer_characters=25)
    words, pieces = await failure(agent)
    assert words == "the answer is longer than 25 characters"
    assert "".join(map(str, pieces)) == "0123456789012345678901234"
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 30)


def test_a_key_is_not_shown_where_an_endpoint_is_printed() -> None:
    assert KEY not in repr(Endpoint("openai", "https://a.example", "m", KEY))
