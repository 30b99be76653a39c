from __future__ import annotations

import asyncio
import time

import pytest

from sessions_app.agents import Turn
from sessions_app.agents.echo import MAX_PIECES, Echo, slow_seconds


async def spoken(turn: Turn) -> list[str]:
    return [piece async for piece in Echo().run(turn)]


@pytest.mark.parametrize("text", ["hello", "two words", " odd   spaces\n\nkept ", "emoji 💙 too"])
async def test_the_answer_is_the_message_in_pieces(text: str) -> None:
    pieces = await spoken(Turn(message=text))
    assert "".join(pieces) == text
    assert len(pieces) >= len(text.split())


async def test_a_long_text_comes_in_few_pieces() -> None:
    text = "word " * 100_000
    pieces = await spoken(Turn(message=text))
    assert "".join(pieces) == text
    assert len(pieces) <= MAX_PIECES


async def test_words_are_counted() -> None:
    turn = Turn(message="three short words")
    await spoken(turn)
    assert turn.usage == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


async def test_what_is_injected_is_said_before_the_end() -> None:
    turn = Turn(message="hello")
    turn.injected.put_nowait("and this")
    turn.injected.put_nowait("and that")
    answer = "".join(await spoken(turn))
    assert answer.split() == ["hello", "and", "this", "and", "that"]
    assert turn.usage["prompt_tokens"] == 5


async def test_slow_takes_its_time_and_shows_that_it_lives() -> None:
    began = time.monotonic()
    pieces = await spoken(Turn(message="slow 2"))
    assert 1.9 <= time.monotonic() - began < 12
    assert "".join(pieces).startswith("slow 2: 1 2 3")


async def test_slow_says_at_once_what_is_injected() -> None:
    turn = Turn(message="slow 30")
    answer = Echo().run(turn)
    assert await anext(answer) == "slow 30:"
    turn.injected.put_nowait("hurry")
    assert (await anext(answer)).strip() == "hurry"  # and not the next number
    await answer.aclose()


async def test_slow_ends_at_once_when_it_is_aborted() -> None:
    turn = Turn(message="slow 30")
    first = asyncio.Event()

    async def listen() -> None:
        async for _ in Echo().run(turn):
            first.set()

    task = asyncio.create_task(listen())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 15)
    assert turn.usage["prompt_tokens"] == 2
    assert turn.usage["completion_tokens"] >= 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("slow 3", 3.0),
        (" SLOW  0.25 \n", 0.25),
        ("slow 600", 600.0),
        ("slow 9999", 600.0),
        ("slow 0", 0.0),
        ("slow", None),
        ("slow down", None),
        ("slow -1", None),
        ("slow nan", None),
        ("slow 1e9", None),
        ("go slow 3", None),
        ("slow 3 please", None),
    ],
)
def test_slow_is_read_from_the_whole_text(text: str, seconds: float | None) -> None:
    assert slow_seconds(text) == seconds
