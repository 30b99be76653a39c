"""The agent `openai`: whatever speaks OpenAI's chat completions, streamed. Decision 0012."""

from __future__ import annotations

import asyncio
import functools
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from sessions_app.agents.base import AgentFailed, Retrying, Turn
from sessions_app.agents.completions import Passing, Reader, Usage, conversation
from sessions_app.agents.endpoint import Endpoint, Limits
from sessions_app.agents.patience import Clock, Silence, asked_s

LONGEST_WAIT_S = 30.0  # that an endpoint may ask for before the next attempt
MAX_ERROR_BYTES = 8192
MAX_WORDS = 200  # characters of an endpoint's own words
BROKE_OFF = "the answer of the model's endpoint broke off"
# What the endpoint says about these is about the question, and safe to show.
ABOUT_THE_QUESTION = frozenset({400, 404, 413, 422})

Message = dict[str, str]


class OpenAI:
    """One endpoint as an agent; a connection of its own for each run, closed with it."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.name = endpoint.name
        self.model = endpoint.model
        self.provider = endpoint.provider
        self._endpoint = endpoint
        self._limits = limits
        self._trusted = _trusted()  # here, in a worker thread: it would hold up the event loop

    async def run(self, turn: Turn) -> AsyncIterator[str | Retrying]:
        """Answer, and answer again as long as something has been injected meanwhile."""
        messages = conversation(turn, self._limits.history_characters)
        clock = Clock(self._limits.whole_s)
        room = self._limits.answer_characters
        async with self._client() as http:
            while True:
                said = []
                async with aclosing(self._answer(http, turn, messages, clock)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, str):
                            said.append(piece)
                            room -= len(piece)
                        yield piece if isinstance(piece, Retrying) or room >= 0 else piece[:room]
                        if room < 0:
                            most = self._limits.answer_characters
                            raise AgentFailed(f"the answer is longer than {most} characters")
                if turn.injected.empty():
                    return
                messages.append({"role": "assistant", "content": "".join(said)})
                while not turn.injected.empty():
                    messages.append({"role": "user", "content": turn.injected.get_nowait()})
                yield "\n\n"

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._trusted,
            timeout=httpx.Timeout(None, connect=self._limits.connect_s),
            follow_redirects=False,  # the key is for this host alone
            trust_env=False,  # nor for a proxy, or a .netrc, that the environment happens to name
        )

    async def _answer(
        self, http: httpx.AsyncClient, turn: Turn, messages: list[Message], clock: Clock
    ) -> AsyncGenerator[str | Retrying, None]:
        """Try until something has been said; from then on a failure is one."""
        most = self._limits.attempts
        for attempt in range(1, most + 1):
            begun = False
            try:
                async with aclosing(self._attempt(http, turn, messages, clock)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except Passing as fault:
                wait_s = max(fault.after_s, self._backoff_s(attempt))
                if begun or attempt == most or not clock.has(wait_s):
                    raise
            yield Retrying(attempt + 1, most)
            await asyncio.sleep(wait_s)

    def _backoff_s(self, attempt: int) -> float:
        return self._limits.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)

    async def _attempt(
        self, http: httpx.AsyncClient, turn: Turn, messages: list[Message], clock: Clock
    ) -> AsyncGenerator[str, None]:
        reader, counted = Reader(), Usage()
        try:
            async with aclosing(self._bytes(http, self._body(turn, messages), clock)) as parts:
                async for part in parts:
                    text = reader.feed(part)
                    counted = _count(turn, counted, reader.usage)
                    if text:
                        yield text
                    if reader.fault:
                        raise reader.fault
                    if reader.done:
                        return
        except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
            raise Passing("the model's endpoint cannot be reached", detail=str(fault)) from None
        except (httpx.TransportError, Silence) as fault:
            if not reader.finished:
                raise _passing(fault) from None
        if not reader.finished:
            raise Passing(BROKE_OFF)

    def _body(self, turn: Turn, messages: list[Message]) -> dict[str, Any]:
        return {
            "model": turn.model or self._endpoint.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def _bytes(
        self, http: httpx.AsyncClient, body: dict[str, Any], clock: Clock
    ) -> AsyncGenerator[bytes, None]:
        """The body of a good answer, as it comes; whoever leaves closes the connection."""
        first_s, between_s = self._limits.first_s, self._limits.between_s
        async with clock.allow(first_s, f"said nothing within {first_s:g} s"):
            response = await http.send(self._request(http, body), stream=True)
        try:
            parts = response.aiter_raw()  # not unpacked: nothing compressed was asked for
            async with clock.allow(first_s, f"said nothing within {first_s:g} s"):
                await self._judge(response, parts)
                part = await anext(parts, None)
            while part is not None:
                yield part
                async with clock.allow(between_s, f"fell silent for {between_s:g} s"):
                    part = await anext(parts, None)
        finally:
            await response.aclose()

    def _request(self, http: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Request:
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if self._endpoint.key:
            headers["Authorization"] = f"Bearer {self._endpoint.key}"
        url = self._endpoint.base_url.rstrip("/") + "/chat/completions"
        return http.build_request("POST", url, json=body, headers=headers)

    async def _judge(self, response: httpx.Response, parts: AsyncIterator[bytes]) -> None:
        """Raises AgentFailed for every answer but a stream."""
        status = response.status_code
        answered = f"the model's endpoint answered {status}"
        if status == 200:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise AgentFailed("the model's endpoint does not stream its answer")
        elif status in {401, 403}:
            raise AgentFailed(f"the model's endpoint refused the key ({status})")
        elif 300 <= status < 400:
            raise AgentFailed(f"{answered}: a redirect, which is not followed")
        elif status == 429 or status >= 500:
            detail = self._words(await _beginning(parts))
            raise _later(answered, asked_s(response.headers.get("Retry-After", "")), detail)
        else:
            words = self._words(await _beginning(parts))
            shown = f": {words}" if words and status in ABOUT_THE_QUESTION else ""
            raise AgentFailed(f"{answered}{shown}", detail=words)

    def _words(self, body: bytes) -> str:
        """What the endpoint says is wrong, on one line; never the key, should it be quoted."""
        try:
            words = msgspec.json.decode(body, type=_Complaint).error.message
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        if self._endpoint.key:
            words = words.replace(self._endpoint.key, "…")
        return "".join(c for c in " ".join(words.split()) if c.isprintable())[:MAX_WORDS]


class _Told(msgspec.Struct):
    message: str = ""


class _Complaint(msgspec.Struct):
    error: _Told


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Made once: reading the certificates takes a tenth of a second."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()  # the machine's own authorities as well
    return context


def _passing(fault: httpx.TransportError | Silence) -> AgentFailed:
    if isinstance(fault, Silence):
        return fault
    return Passing(BROKE_OFF, detail=f"{type(fault).__name__}: {fault}")


def _count(turn: Turn, before: Usage, now: Usage) -> Usage:
    """Some endpoints tell the usage again and again, each time in full."""
    turn.spend(
        prompt=now.prompt_tokens - before.prompt_tokens,
        completion=now.completion_tokens - before.completion_tokens,
    )
    return now


def _later(answered: str, asked_s: float, detail: str) -> AgentFailed:
    if asked_s > LONGEST_WAIT_S:
        return AgentFailed(f"{answered}: try again in {asked_s:.0f} s", detail=detail)
    return Passing(answered, after_s=asked_s, detail=detail)


async def _beginning(parts: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for part in parts:
        body += part
        if len(body) >= MAX_ERROR_BYTES:
            break
    return body
