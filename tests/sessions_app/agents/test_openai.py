"""The agent `openai` against a real server: what it asks and says, aborts, time limits."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from sessions_app.agents import Retrying, Turn
from sessions_app.agents.endpoint import Endpoint, Limits
from sessions_app.agents.openai import OpenAI
from tests.doubles import until
from tests.sessions_app.agents.asking import KEY, Serve, failure, spoken
from tests.sessions_app.agents.upstream import (
    Line,
    Script,
    good,
    hung_up,
    mute,
    refusing,
    stall,
    writing,
)

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
    assert await asyncio.wait_for(anext(answer), 30) == "Hello "
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
        _, agent = await serve(script, between_s=1.0)
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
        await asyncio.wait_for(task, 10)
    await hung_up(upstream.lines[0])


async def test_an_abort_ends_the_wait_for_another_attempt(serve: Serve) -> None:
    upstream, agent = await serve(refusing(429, Retry_After="20"))
    task = asyncio.create_task(spoken(agent))
    await until(lambda: upstream.lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert len(upstream.lines) == 1


# --- time limits ---


@pytest.mark.parametrize(
    ("script", "limits", "words", "pieces"),
    [
        (mute, {"first_s": 0.1}, "said nothing within 0.1 s", []),
        (stall, {"between_s": 0.5}, "fell silent for 0.5 s", ["Hello "]),
        (stall, {"whole_s": 2}, "had not finished after 2 s", ["Hello "]),
        (mute, {"whole_s": 0.1}, "had not finished after 0.1 s", []),
    ],
)
async def test_every_wait_has_an_end(
    serve: Serve, script: Script, limits: dict[str, float], words: str, pieces: list[str]
) -> None:
    upstream, agent = await serve(script, **limits)
    assert await failure(agent) == (f"the model's endpoint {words}", pieces)
    assert len(upstream.lines) == 1, "what was slow is not asked again"
    await hung_up(upstream.lines[0])


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
