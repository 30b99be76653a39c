"""What a request head may hold: its limits, counted while it comes, and the rules for its fields.

Source: PROTOCOLS.md 0.3 (the defects of the pinned versions).
"""

from __future__ import annotations

import httptools

ONCE = frozenset({b"authorization", b"host", b"origin"})  # two of them have two readings
VERSIONS = frozenset({"1.0", "1.1"})
END = len(b"\r\n")

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """The request is answered by the server itself, and the connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HeadMeter:
    """Counts the heads of one connection; raises Refusal (431) for what is too much. Bytes."""

    max_line_bytes = 8 * 1024
    max_head_bytes = 32 * 1024
    max_headers = 100

    def __init__(self) -> None:
        self._raw = self._raw_line = 0  # of an unfinished head, before it is parsed
        self._url = self._fields = self._field_bytes = 0  # of the current head, parsed
        self._extra = 0  # chunk extensions and trailers since the last byte of body

    # --- before it is parsed: the parser reports a field at the end of it ---

    def forget_raw(self) -> None:
        """A head ended, or one began somewhere inside a segment: count from the next segment."""
        self._raw = self._raw_line = 0

    def unfinished(self, data: bytes) -> None:
        """A segment that holds nothing but a part of one head."""
        self._raw += len(data)
        first, *others = data.split(b"\n")
        longest = max(self._raw_line + len(first), *map(len, others), 0)
        self._raw_line = len(others[-1]) if others else self._raw_line + len(first)
        if longest > self.max_line_bytes:
            raise too_long("a line of the request head", self.max_line_bytes)
        if self._raw > self.max_head_bytes:
            raise too_long("the request head", self.max_head_bytes)

    # --- parsed ---

    def begin(self) -> None:
        self._url = self._fields = self._field_bytes = 0

    def request_line(self, method: bytes, url: bytes) -> None:
        self._url = len(url)
        if len(method) + len(url) + len("  HTTP/1.1") + END > self.max_line_bytes:
            raise too_long("the request line", self.max_line_bytes)

    def field(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        line = len(name) + len(b": ") + len(value) + END
        self._fields += 1
        self._field_bytes += line
        self._extra = 0
        if line > self.max_line_bytes:
            raise too_long("a header line", self.max_line_bytes)
        if self._fields > self.max_headers:
            raise Refusal(431, f"too many headers; a request takes {self.max_headers}")
        if self._url + self._field_bytes > self.max_head_bytes:
            raise too_long("the request head", self.max_head_bytes)

    # --- in the body ---

    def extra(self, count: int) -> None:
        """Bytes of the connection that were no body yet."""
        self._extra += count

    def body(self) -> None:
        self._extra = 0

    def judge_extra(self) -> None:
        if self._extra > self.max_head_bytes:
            raise too_long("chunk extensions and trailers", self.max_head_bytes)


def judge_field(name: bytes, value: bytes, earlier: Headers) -> None:
    """Raises Refusal for a header that two programs would read differently."""
    lower = name.lower()
    if not _readable(value):
        raise Refusal(400, "a header value has a control character; none is allowed")
    if lower in ONCE and any(lower == known for known, _ in earlier):
        raise Refusal(400, f"two {lower.decode()} headers; one is allowed")


def judge_head(version: str, method: bytes, headers: Headers, *, upgrades: bool) -> None:
    """Raises Refusal for a whole head that is not served. `headers` have lower-case names."""
    if version not in VERSIONS:
        raise Refusal(400, "unknown HTTP version; HTTP/1.1 and HTTP/1.0 are served")
    if method == b"CONNECT":
        raise Refusal(405, "CONNECT is not served: this is no proxy")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        # The parser would complain too, after the application was started.
        raise Refusal(400, "unknown Transfer-Encoding; chunked is allowed")
    if upgrades:
        lengths = [value for name, value in headers if name == b"content-length"]
        if codings or lengths not in ([], [b"0"]):
            raise Refusal(400, "an upgrade request with a body; it takes none")


def too_long(what: str, most: int) -> Refusal:
    return Refusal(431, f"{what} is longer than {most} bytes")


def _readable(value: bytes) -> bool:
    """The parser lets 0x85 pass, which is a line end when read alone, but ends many letters."""
    if b"\x85" not in value:
        return True
    try:
        return "\x85" not in value.decode()
    except UnicodeDecodeError:
        return False


def malformed(error: httptools.HttpParserError) -> Refusal:
    """What the parser said, with what is allowed instead."""
    text = str(error.args[0]) if type(error) is httptools.HttpParserError and error.args else ""
    if "Content-Length" in text or "Transfer-Encoding" in text:
        allowed = "a body takes one Content-Length or Transfer-Encoding: chunked, never both"
    elif "header value" in text:
        allowed = "a header value takes visible characters, spaces and tabs on one line"
    else:
        allowed = "it takes HTTP/1.1 as in RFC 9112"
    return Refusal(400, f"malformed request: {text or 'not understood'}; {allowed}")
