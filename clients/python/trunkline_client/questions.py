"""A worker's questions, as one viewer knows them: told once, settled once. PROTOCOLS.md 3.5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Frame = dict[str, Any]


class Questions:
    """Which are open, and what was answered."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._answers: dict[str, Frame] = {}  # of which it is not known that they came
        self._before: set[str] = set()  # open when the server was asked which are
        self._settled: set[str] = set()  # since then

    def look(self) -> None:
        """The server is asked which are open."""
        self._before = set(self._open)
        self._settled.clear()

    def asked(self, request_id: str) -> bool:
        """Whether a question is new."""
        if request_id in self._open or request_id in self._answers:
            return False
        self._open.add(request_id)
        return True

    def settled(self, request_id: str) -> None:
        self._open.discard(request_id)
        self._settled.add(request_id)

    def answer(self, request_id: str, response: Mapping[str, Any]) -> Frame:
        said = {"subtype": "success", "request_id": request_id, "response": dict(response)}
        self._open.discard(request_id)
        self._answers[request_id] = {"type": "control_response", "response": said}
        return self._answers[request_id]

    def refused(self, request_id: str) -> None:
        """An answer of ours; it would be refused again, and the question is open."""
        if self._answers.pop(request_id, None) is not None:
            self._open.add(request_id)

    def compare(self, pending: Sequence[Frame]) -> Iterator[tuple[bool, Frame]]:
        """What to tell (True) and what to say again (False), now that it is known what is open."""
        ids = {str(question.get("request_id")) for question in pending}
        for gone in self._answers.keys() - ids:
            del self._answers[gone]
        for request_id in sorted((self._before & self._open) - ids):
            self.settled(request_id)
            yield True, {"type": "control_cancel_request", "request_id": request_id}
        for question in pending:
            request_id = str(question.get("request_id"))
            if request_id in self._answers:
                yield False, self._answers[request_id]
            elif request_id not in self._settled and self.asked(request_id):
                yield True, question
