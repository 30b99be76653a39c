"""The agent `openai` against a real server that streams, stalls, errs and breaks off."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
from collections.abc import AsyncIterator, Callable
from email.utils import format_datetime
from typing import Any

import pytest

from sessions_app.agents import AgentFailed, Retrying, Turn
from sessions_app.agents.endpoint import Endpoint, Limits
from sessions_app.agents.openai import OpenAI
from tests.doubles import until
from tests.sessions_app.agents.upstream import (
    Line,
    Script,
    Upstream,
    broken_off,
    good,
    mute,
    refusing,
    stall,
    writing,
)

KEY = "sk-never-to-be-seen"
Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(script, …, **limits)`: the server, and an agent that asks it."""
    running: list[Upstream] = []

    async def start(*scripts: Script, **limits: Any) -> tuple[Upstream, OpenAI]:
        upstream = await Upstream(*scripts).__aenter__()
        running.append(upstream)
        endpoint = Endpoint("openai", upstream.url, "small", KEY)
        return upstream, OpenAI(endpoint, Limits(**{"backoff_s": 0.01, **limits}))

    yield start
    for upstream in running:
        await upstream.__aexit__()


async def spoken(agent: OpenAI, turn: Turn | None = None) -> list[str | Retrying]:
    async with asyncio.timeout(15):
        return [piece async for piece in agent.run(turn or Turn(message="hi"))]


async def failure(agent: OpenAI) -> tuple[str, list[str | Retrying]]:
    """The words with which a run fails, and the pieces that came before."""
    pieces: list[str | Retrying] = []
    with pytest.raises(AgentFailed) as failed:
        async with asyncio.timeout(15):
            async for piece in agent.run(Turn(message="hi")):
                pieces.append(piece)
    assert KEY not in str(failed.value) + failed.value.detail
    return str(failed.value), pieces


# --- a good answer ---


async def test_an_answer_is_streamed_and_its_usage_counted(serve: Serve) -> None:
    upstream, agent = await serve(good)
    turn = Turn(message="hi")
    assert "".join(map(str, await spoken(agent, turn))) == "Hello world"
    assert turn.usage == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    [line] = upstream.lines
    assert line.path == "/v1/chat/completions"
    assert line.headers["authorization"] == f"Bearer {KEY}"
    assert line.body == {
        "model": "small",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_piece_comes_when_it_was_written_and_not_later(serve: Serve) -> None:
    _, agent = await serve(stall)
    answer = agent.run(Turn(message="hi"))
    assert await asyncio.wait_for(anext(answer), 5) == "Hello "
    await answer.aclose()


async def test_what_was_said_before_goes_along_and_the_sessions_model_is_asked(
    serve: Serve,
) -> None:
    upstream, agent = await serve(good)
    history = [
        {"role": "user", "content": "one", "sender_id": "alice"},
        {"role": "tool", "content": "ignored", "tool_call_id": "1"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "two", "partial": True},
    ]
    await spoken(agent, Turn(message="three", history=history, model="large"))
    body = upstream.lines[0].body
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert body["model"] == "large"


async def test_of_a_long_history_the_newest_goes_along(serve: Serve) -> None:
    upstream, agent = await serve(good, history_characters=8)
    history = [{"role": "user", "content": text} for text in ("old", "older", "new", "er")]
    await spoken(agent, Turn(message="now", history=history))
    said = [one["content"] for one in upstream.lines[0].body["messages"]]
    assert said == ["new", "er", "now"]


async def test_what_is_injected_is_answered_too(serve: Serve) -> None:
    upstream, agent = await serve(good)
    turn = Turn(message="hi")
    turn.injected.put_nowait("and this")
    assert "".join(map(str, await spoken(agent, turn))) == "Hello world\n\nHello world"
    assert upstream.lines[1].body["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello world"},
        {"role": "user", "content": "and this"},
    ]
    assert turn.usage["total_tokens"] == 18


async def test_usage_that_is_told_again_and_again_counts_once(serve: Serve) -> None:
    async def script(line: Line) -> None:
        await line.head()
        for count in (1, 2, 3):
            await line.say("x")
            await line.use(5, count)
        await line.raw(b"data: [DONE]\n\n")

    _, agent = await serve(script)
    turn = Turn(message="hi")
    await spoken(agent, turn)
    assert turn.usage == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_pieces_may_be_cut_anywhere(serve: Serve, size: int) -> None:
    text = 'é💙 "quoted" \\ \n end'
    chunk = {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}
    stream = f": hello\r\n\r\nevent: x\r\ndata: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n"
    whole = (stream + "data: [DONE]\r\n\r\n").encode()
    _, agent = await serve(writing(*[whole[at : at + size] for at in range(0, len(whole), size)]))
    assert "".join(map(str, await spoken(agent))) == text


async def test_an_endpoint_that_never_says_done_is_believed(serve: Serve) -> None:
    """Some end with the connection, and some keep it open."""
    said = b'data: {"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\n'

    async def kept_open(line: Line) -> None:
        await line.head()
        await line.raw(said)
        await mute(line)

    async def cut(line: Line) -> None:
        await line.head()
        await line.raw(said)

    for script in (writing(said), kept_open, cut):
        _, agent = await serve(script, between_s=0.1)
        assert await spoken(agent) == ["ok"]


async def test_no_character_comes_that_the_database_does_not_take(serve: Serve) -> None:
    said = b'data: {"choices":[{"delta":{"content":"a\\u0000b"},"finish_reason":"stop"}]}\n\n'
    _, agent = await serve(writing(said))
    assert await spoken(agent) == ["ab"]


async def test_without_a_key_none_is_sent(serve: Serve) -> None:
    upstream, _ = await serve(good)
    agent = OpenAI(Endpoint("local", upstream.url + "/", "small"), Limits())
    await spoken(agent)
    assert "authorization" not in upstream.lines[0].headers
    assert upstream.lines[0].path == "/v1/chat/completions"


async def test_no_proxy_of_the_environment_sees_the_key(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = await serve(good)
    upstream, agent = await serve(good)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    await spoken(agent)
    assert (len(proxy.lines), len(upstream.lines)) == (0, 1)


# --- abort ---


@pytest.mark.parametrize("script", [stall, mute])
async def test_an_abort_closes_the_stream_at_once(serve: Serve, script: Script) -> None:
    upstream, agent = await serve(script)
    task = asyncio.create_task(spoken(agent))
    await until(lambda: upstream.lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 2)


async def test_an_abort_ends_the_wait_for_another_attempt(serve: Serve) -> None:
    upstream, agent = await serve(refusing(429, Retry_After="20"))
    task = asyncio.create_task(spoken(agent))
    await until(lambda: upstream.lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert len(upstream.lines) == 1


# --- time limits ---


@pytest.mark.parametrize(
    ("script", "limits", "words", "pieces"),
    [
        (mute, {"first_s": 0.1}, "said nothing within 0.1 s", []),
        (stall, {"between_s": 0.1}, "fell silent for 0.1 s", ["Hello "]),
        (stall, {"whole_s": 0.3}, "had not finished after 0.3 s", ["Hello "]),
        (mute, {"whole_s": 0.1}, "had not finished after 0.1 s", []),
    ],
)
async def test_every_wait_has_an_end(
    serve: Serve, script: Script, limits: dict[str, float], words: str, pieces: list[str]
) -> None:
    upstream, agent = await serve(script, **limits)
    assert await failure(agent) == (f"the model's endpoint {words}", pieces)
    assert len(upstream.lines) == 1, "what was slow is not asked again"
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 2)


async def test_an_endpoint_that_takes_no_connection_is_given_up() -> None:
    with socket.socket() as full:  # its queue is full: a connection is never taken
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        endpoint = Endpoint("openai", f"http://127.0.0.1:{full.getsockname()[1]}", "m")
        agent = OpenAI(endpoint, Limits(connect_s=0.1, attempts=2, backoff_s=0.01))
        words, pieces = await failure(agent)
        for one in waiting:
            one.close()
    assert (words, pieces) == ("the model's endpoint cannot be reached", [Retrying(2, 2)])


# --- attempts ---


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
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 5)
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
    return format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("asked", ["1", in_seconds(2)])
async def test_the_wait_that_an_endpoint_asks_for_is_kept(serve: Serve, asked: str) -> None:
    upstream, agent = await serve(refusing(429, Retry_After=asked), good)
    loop = asyncio.get_running_loop()
    answer = agent.run(Turn(message="hi"))
    assert await anext(answer) == Retrying(2, 3)
    began = loop.time()
    assert await anext(answer) == "Hello "
    assert 0.5 < loop.time() - began < 8 if asked == "1" else len(upstream.lines) == 2
    await answer.aclose()


@pytest.mark.parametrize("asked", ["3600", "99999999999999999999", in_seconds(3600)])
async def test_a_wait_that_is_too_long_fails_at_once(serve: Serve, asked: str) -> None:
    upstream, agent = await serve(refusing(429, Retry_After=asked))
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
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 5)


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
    await asyncio.wait_for(upstream.lines[0].gone.wait(), 5)


def test_a_key_is_not_shown_where_an_endpoint_is_printed() -> None:
    assert KEY not in repr(Endpoint("openai", "https://a.example", "m", KEY))
