"""FaultProxy: the network between a client and a server, at its worst."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

Mode = Literal["pass", "blackhole", "rst", "delay"]
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST instead of FIN
_LOOK_UP_S = 0.2  # a thread that waits for a peer looks at the mode this often


class FaultProxy:
    """Listens on `port` of 127.0.0.1 and passes bytes to the target as `mode` allows.

    pass       every byte, at once
    blackhole  nothing moves in either direction; `pass` lets flow what was held back
    rst        open connections are reset, new ones too
    delay      every chunk waits `delay_s` seconds
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self.target = (target_host, target_port)
        self.delay_s = 0.1
        self._mode: Mode = "pass"
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._clients: set[socket.socket] = set()  # those of them that have called us
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        _in_thread(self._accept)

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        with self._changed:
            self._mode = mode
            self._changed.notify_all()
        if mode == "rst":
            self._reset(*list(self._sockets))

    def half_close(self) -> None:
        """Every client hears the end of its server, which hears nothing of it."""
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # close() alone does not wake the thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset(*list(self._sockets))

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.add(client)
            self._clients.add(client)
            _in_thread(partial(self._connect, client))

    def _connect(self, client: socket.socket) -> None:
        if not self._may_pass():
            return self._reset(client)
        try:
            server = socket.create_connection(self.target, 10)
        except OSError:
            return self._reset(client)
        self._sockets.add(server)
        answers = _in_thread(partial(self._pump, server, client))
        self._pump(client, server)
        answers.join()
        self._clients.discard(client)
        for end in (client, server):  # no reset now: it would discard what is still on its way
            self._sockets.discard(end)
            end.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on until the end of `source`; a broken or forbidden line is reset on both sides."""
        try:
            source.settimeout(_LOOK_UP_S)
            while self._may_pass():
                with contextlib.suppress(TimeoutError):
                    data = source.recv(65536)
                    if not self._may_pass():
                        break
                    if not data:
                        return sink.shutdown(socket.SHUT_WR)  # half open: the answer may follow
                    if self._mode == "delay":
                        time.sleep(self.delay_s)
                    self._send(sink, data)
        except OSError:
            pass
        self._reset(source, sink)

    def _send(self, sink: socket.socket, data: bytes) -> None:
        while data and self._may_pass():
            with contextlib.suppress(TimeoutError):
                data = data[sink.send(data) :]

    def _may_pass(self) -> bool:
        """Wait while nothing moves; false when lines are to be reset."""
        with self._changed:
            self._changed.wait_for(lambda: self._mode != "blackhole" or self._closed)
            return self._mode != "rst" and not self._closed

    def _reset(self, *ends: socket.socket) -> None:
        for end in ends:
            self._sockets.discard(end)
            self._clients.discard(end)
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(
                    socket.SHUT_RD
                )  # wakes a thread that waits to read; RST is yet to come
            end.close()


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
