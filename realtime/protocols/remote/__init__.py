"""002, remote sessions: `talk` is the conversation, `frames` the codec, `work` the worker's side.

Source: PROTOCOLS.md section 3.
"""

from realtime.protocols.remote.talk import RemoteProtocol

__all__ = ["RemoteProtocol"]
