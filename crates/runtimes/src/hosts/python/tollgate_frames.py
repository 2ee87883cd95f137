"""Frames between worker and server: a big-endian 32-bit length and that many bytes of JSON.

User code in a worker can reach all of this; the server therefore trusts no frame.
"""

import json
import os
import socket
import threading

# Bound here, so that user code that replaces `json.dumps` does not break the host.
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
decode = json.JSONDecoder().decode


class Channel:
    """The worker's socket. `lock` makes one host call, or the answer, at a time."""

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)
        self.lock = threading.Lock()

    def receive(self):
        data = self.socket.recv(65536)
        while len(data) < 4:
            data = self.more(data, 65536)
        end = 4 + int.from_bytes(data[:4], "big")
        if len(data) < end:
            parts = bytearray(data)
            while len(parts) < end:
                part = self.socket.recv(min(end - len(parts), 1 << 20))
                if not part:
                    os._exit(0)
                parts += part
            data = bytes(parts)
        return decode(str(memoryview(data)[4:end], "utf-8"))

    def more(self, data, size):
        part = self.socket.recv(size)
        if not part:
            # The server has let go of this worker.
            os._exit(0)
        return data + part

    def send(self, text):
        body = text.encode("utf-8", "replace")
        self.socket.sendall(len(body).to_bytes(4, "big") + body)
