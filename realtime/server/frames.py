"""What goes over the wire: frames, reasons that fit a close, answers to refused handshakes.

Source: PROTOCOLS.md 0.2 (codes), 0.3 (defects of the pinned versions); RFC 6455.
"""

from __future__ import annotations

from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

from realtime.server import error_body

REASON_BYTES = 123  # what a close frame has room for
REASONS = {
    1000: "closed by the server",
    1001: "going away",
    1002: "protocol error",
    1007: "invalid UTF-8",
    1008: "policy violation",
    1011: "internal error",
    1012: "server restarting",
    1013: "try again later",
}


class Conversation(ServerProtocol):
    """The sans-IO side: every close has a reason, every refused handshake a JSON body."""

    def send_frame(self, frame: Frame) -> None:
        """A close without a code is answered with 1000: to programs that leave so, such as the
        edge agents' own tests (PROTOCOLS.md 1.6), nothing else is a clean end.
        """
        if frame.opcode is Opcode.CLOSE and not frame.data:
            frame = Frame(Opcode.CLOSE, Close(CloseCode.NORMAL_CLOSURE, "").serialize())
        super().send_frame(frame)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            reason = f"frame larger than {self.max_message_size} bytes"
        self.end(code, reason)

    def end(self, code: CloseCode | int, reason: str) -> None:
        super().fail(code, fitting(code, reason))

    def forget_handshake(self) -> None:
        """Read frames with a parser that has not read the request, and so does not keep it."""
        self.parser.close()
        self.parser = Protocol.parse(self)
        next(self.parser)

    def reject(self, status: HTTPStatus | int, text: str) -> Response:
        status = HTTPStatus(status)
        summary = text.strip().partition("\n")[0] or status.phrase
        body = error_body(status, summary)
        headers = Headers(
            [
                ("Connection", "close"),
                ("Content-Length", str(len(body))),
                ("Content-Type", "application/json"),
                ("Sec-WebSocket-Version", "13"),
            ]
        )
        return Response(status.value, status.phrase, headers, body)


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text frame (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def fitting(code: int, reason: str) -> str:
    """The reason, or one for its code, cut at a character to what a close frame has room for."""
    reason = reason or REASONS.get(code, "closed by the server")
    return reason.encode(errors="replace")[:REASON_BYTES].decode(errors="ignore")
