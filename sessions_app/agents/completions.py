"""The wire of chat completions: messages out, a streamed answer in."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from sessions_app.agents.base import AgentFailed, Turn

ROLES = frozenset({"user", "assistant", "system"})  # tool messages need calls that we do not make
MAX_LINE_BYTES = 1024 * 1024
NO_STREAM = "the model's endpoint sent what is no answer"

Count = Annotated[int, Meta(ge=0, le=2**53)]


class Passing(AgentFailed):
    """May go better another time, in `after_s` seconds if that was said."""

    def __init__(self, words: str, *, detail: str = "", after_s: float = 0) -> None:
        super().__init__(words, detail=detail)
        self.after_s = after_s


class Usage(Struct):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0


class Delta(Struct):
    content: str | None = None


class Choice(Struct):
    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(Struct):
    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(Chunk)


def conversation(turn: Turn, most: int) -> list[dict[str, str]]:
    """The message and what was said before it: the newest that have `most` characters together."""
    room = most - len(turn.message)
    messages = [{"role": "user", "content": turn.message}]
    for message in reversed(turn.history):
        if message["role"] not in ROLES or not message["content"]:
            continue
        room -= len(message["content"])
        if room < 0:
            break
        messages.append({"role": message["role"], "content": message["content"]})
    return messages[::-1]


class Reader:
    """Reads a stream of server-sent events: bytes in, text out.

    `finished`: the answer is whole, though its usage may follow. `done`: nothing follows. `fault`:
    it ends here, in a failure. `usage` is the newest that was told.
    """

    def __init__(self) -> None:
        self.finished = self.done = False
        self.fault: AgentFailed | None = None
        self.usage = Usage()
        self._rest = b""

    def feed(self, part: bytes) -> str:
        """The text of what has arrived whole by now, and is before the `fault`, if there is one."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        said = []
        try:
            for line in lines:
                said.append(self._text(line))
            if len(self._rest) > MAX_LINE_BYTES:
                raise AgentFailed(NO_STREAM, detail="a line has no end")
        except AgentFailed as fault:
            self.fault = fault
        return "".join(said).replace("\0", "")  # which PostgreSQL does not take

    def _text(self, line: bytes) -> str:
        field, _, value = line.partition(b":")
        data = value.strip()
        if field != b"data" or not data:
            return ""
        if data == b"[DONE]":
            self.finished = self.done = True
            return ""
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise AgentFailed(NO_STREAM, detail=type(fault).__name__) from None
        if chunk.error:
            raise Passing("the model's endpoint reported an error")
        self.usage = chunk.usage or self.usage
        return "".join(self._of(choice) for choice in chunk.choices if choice.index == 0)

    def _of(self, choice: Choice) -> str:
        self.finished = self.finished or choice.finish_reason is not None
        return (choice.delta and choice.delta.content) or ""
