"""The specification's own frames, played against the pure protocols.

A transcript is a text file, one line a step:
  ? PATH [N: V]      a peer opens, perhaps with a header
  > TEXT             the peer says
  < TEXT             we say (compared as JSON)
  + KIND REALM KEY   we join an address; - KIND REALM KEY: we leave it
  ^ KIND REALM KEY   we publish to an address, or to several with `|` between; `@ heard` brings it
                     back to us
  * KIND REALM KEY   we record at an address, likewise
  = NAME {data}      the event that we said there
  % SINCE KIND REALM KEY   we recover an address from EPOCH:OFFSET, or `-` from now on
  & …                we ask for a turn: `@ turn` gives it
  ~ NAME             we ask the domain: an operation, or Authenticate
  ! CODE REASON      we close
  @ …                the shell answers: admit {principal}, pending {pairing}, reply {result},
                     late REF {result} to what was asked before the last words,
                     fail ERROR MESSAGE, event NAME {data}, heard, turn,
                     recovered EPOCH:OFFSET [events], gap REASON [EPOCH:OFFSET]; with a number
                     numbered EPOCH:OFFSET NAME {data}
`#` begins a comment. Every effect must be named by a line, in order, except WaitFor,
Touch and AwaitRoom.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from realtime import routing
from realtime.core import errors
from realtime.core.addresses import Address
from realtime.core.credentials import PendingPairing
from realtime.core.effects import (
    Ask,
    Authenticate,
    AwaitRoom,
    Call,
    Close,
    Join,
    Leave,
    Publish,
    Record,
    Recover,
    Resume,
    Send,
    SendText,
    Touch,
    WaitFor,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.history import Gap, Position, Recovered
from realtime.core.lifecycle import Phase
from realtime.core.principal import Principal

PROTOCOLS = {protocol.name: protocol for protocol in routing.PROTOCOLS}
FOLDER = Path(__file__).parent.parent / "transcripts"
FILES = sorted(FOLDER.glob("*/*.txt"))


class Player:
    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.phase = Phase.GREETING
        self.told: deque[Any] = deque()
        self.ref = ""
        self.published: Event | None = None

    def play(self, line: str) -> None:
        sign, _, rest = line.partition(" ")
        {
            "?": self.opens,
            ">": self.says,
            "<": self.hears,
            "+": lambda rest: self.names(rest, Join),
            "-": lambda rest: self.names(rest, Leave),
            "^": self.publishes,
            "*": self.records,
            "%": self.recovers,
            "&": lambda rest: self.next(Resume),
            "=": self.published_is,
            "~": self.asks,
            "!": self.closes,
            "@": self.shell,
        }[sign](rest)

    def opens(self, rest: str) -> None:
        url, _, header = rest.partition(" ")
        path, _, query = url.partition("?")
        name, _, value = header.partition(": ")
        credential = self.protocol.handshake(
            Handshake(
                path=path,
                parameters=routing.resolve(path, query)[1],
                address="198.51.100.7",
                headers={name: value},
                query=dict(parse_qsl(query, keep_blank_values=True)),
            )
        )
        if credential is not None:
            self.take([Authenticate(credential)])

    def says(self, text: str) -> None:
        assert not self.told, f"not named by the transcript: {self.told[0]}"
        self.ref = ""
        try:
            frame = self.protocol.decode(text)
            self.ref = self.protocol.ref(frame)
            answer = self.protocol.receive if self.phase is Phase.OPEN else self.protocol.greet
            self.take(answer(frame))
        except errors.GatewayError as error:
            self.take(self.protocol.failed(self.ref, error))

    def shell(self, rest: str) -> None:
        verb, _, rest = rest.partition(" ")
        if verb == "admit":
            self.phase = Phase.OPEN
            self.protocol.principal = Principal(**json.loads(rest))
            self.take(self.protocol.opened(self.ref))
        elif verb == "pending":
            self.take(self.protocol.replied(self.ref, PendingPairing(**json.loads(rest))))
        elif verb == "reply":
            answered, self.ref = self.ref, ""
            self.take(self.protocol.replied(answered, json.loads(rest)))
        elif verb == "late":
            answered, _, result = rest.partition(" ")
            self.take(self.protocol.replied(answered, json.loads(result)))
        elif verb == "fail":
            name, _, message = rest.partition(" ")
            self.take(self.protocol.failed(self.ref, getattr(errors, name)(message)))
        elif verb == "event":
            name, _, data = rest.partition(" ")
            self.take(self.protocol.deliver(Event(name, json.loads(data))))
        elif verb == "numbered":
            at, name, data = rest.split(" ", 2)
            self.take(self.protocol.deliver(numbered(at, name, json.loads(data))))
        elif verb == "turn":
            self.take(self.protocol.resume())
        elif verb == "recovered":
            at, _, said = rest.partition(" ")
            self.settle(Recovered(missed(at, json.loads(said or "[]")), position(at)))
        elif verb == "gap":
            reason, _, at = rest.partition(" ")
            self.settle(Gap(reason, position(at) if at else None))
        elif verb == "heard":
            assert self.published is not None
            self.take(self.protocol.deliver(Event.unpack(self.published.pack())))
        else:
            raise AssertionError(f"no such verb: {verb}")

    def hears(self, text: str) -> None:
        effect = self.next(Send, SendText)
        said = self.protocol.encode(effect.frame) if isinstance(effect, Send) else effect.text
        assert json.loads(said) == json.loads(text)

    def names(self, rest: str, effect: type) -> None:
        assert self.next(effect).address == address_of(rest)

    def publishes(self, rest: str) -> None:
        effect = self.next(Publish)
        assert list(effect.addresses) == [address_of(one) for one in rest.split("|")]
        self.published = effect.event

    def records(self, rest: str) -> None:
        effect = self.next(Record)
        assert effect.address == address_of(rest)
        self.published = effect.event

    def recovers(self, rest: str) -> None:
        effect = self.next(Recover)
        since, _, address = rest.partition(" ")
        assert effect.since == (None if since == "-" else position(since))
        assert effect.address == address_of(address)
        self.ref = effect.ref

    def settle(self, outcome: Recovered | Gap) -> None:
        self.take(self.protocol.replied(self.ref, outcome))

    def published_is(self, rest: str) -> None:
        name, _, data = rest.partition(" ")
        assert self.published is not None
        assert (self.published.name, self.published.data) == (name, json.loads(data))

    def asks(self, name: str) -> None:
        effect = self.next(Call, Ask, Authenticate)
        asked = effect if isinstance(effect, Authenticate) else effect.operation
        assert type(asked).__name__ == name
        # Some protocols name what they ask for by themselves.
        assert isinstance(effect, Ask) or effect.ref == (self.ref or effect.ref)
        self.ref = effect.ref

    def closes(self, rest: str) -> None:
        effect = self.next(Close)
        assert f"{effect.code} {effect.reason}" == rest

    def take(self, effects: Any) -> None:
        quiet = WaitFor | Touch | AwaitRoom
        self.told.extend(effect for effect in effects if not isinstance(effect, quiet))

    def next(self, *kinds: type) -> Any:
        assert self.told, "the transcript expects more than was said"
        effect = self.told.popleft()
        assert isinstance(effect, kinds), effect
        return effect


def address_of(text: str) -> Address:
    kind, realm, *key = text.split(" ", 2)
    return Address(kind, realm, key[0] if key else "")


def position(text: str) -> Position:
    epoch, _, offset = text.partition(":")
    return Position(epoch, int(offset))


def numbered(at: str, name: str, data: Any) -> Event:
    return Event(name, data, position=position(at))


def missed(last: str, said: list[Any]) -> list[Event]:
    """The events before and at `last`, each [NAME, {data}]."""
    epoch, offset = position(last)
    first = offset - len(said) + 1
    return [
        Event(name, data, position=Position(epoch, number))
        for number, (name, data) in enumerate(said, first)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_transcript(path):
    player = Player(PROTOCOLS[path.parent.name](connection="connection-1", now=lambda: 1000.0))
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            player.play(line)
        except AssertionError as error:
            raise AssertionError(f"{path.name}:{number}: {line}\n{error}") from error
    assert not player.told, f"not named by the transcript: {player.told[0]}"


def test_every_protocol_has_transcripts():
    assert {path.parent.name for path in FILES} == set(PROTOCOLS)
