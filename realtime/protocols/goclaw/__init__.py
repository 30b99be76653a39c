"""001, the connect-first RPC gateway.

Source: PROTOCOLS.md section 2. Handshake: none needed, the first frame is `connect`. Frames: `req`
in, `res` and `event` out, one JSON object each, at most 524 288 bytes in. Errors never close the
socket; closes: 1009 too large, 1012 restart, 4003 revoked, 4008 slow reader, 4010 no connect in
time.
"""

from realtime.protocols.goclaw.talk import GoclawProtocol

__all__ = ["GoclawProtocol"]
