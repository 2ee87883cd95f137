"""Frames between worker and server: a big-endian 32-bit length and that many bytes of JSON.

User code in a worker can reach all of this; the server therefore trusts no frame.
"""

import json
import os
import socket
import sys
import threading

# Requests of one call that wait for the server at the same time. The server refuses more.
REQUESTS_AT_ONCE = 16

# Bound here, so that user code that replaces `json.dumps` does not break the host.
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
parse = json.JSONDecoder().decode
native_id = threading.get_native_id


def decode(text):
    try:
        return parse(text)
    except ValueError:
        # Python refuses to read an integer of more than 4300 digits unless it is told to.
        with any_digits():
            return parse(text)


class any_digits:
    """Lets integers of any length become text and back."""

    def __enter__(self):
        self.before = getattr(sys, "get_int_max_str_digits", int)()
        getattr(sys, "set_int_max_str_digits", int)(0)

    def __exit__(self, *_):
        getattr(sys, "set_int_max_str_digits", int)(self.before)


class Slot:
    """Where one thread waits for the answer to its request, or for its turn to read."""

    __slots__ = ("answer", "turn")

    def __init__(self):
        self.answer = None
        self.turn = threading.Lock()
        self.turn.acquire()

    def wake(self):
        try:
            self.turn.release()
        except RuntimeError:
            # Woken already.
            pass


class Channel:
    """The worker's socket. Several threads may wait for answers: one of them reads for all."""

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)
        self.receive_some = self.socket.recv
        self.send_all = self.socket.sendall
        self.sending = threading.Lock()
        self.reading = threading.Lock()
        self.places = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        self.slots = {}
        self.count = 0
        # Whether the server takes requests now.
        self.open = False
        # Threads that an earlier call left behind, by their number in the kernel.
        self.left = set()
        # A call that was read by somebody who waited for an answer.
        self.call = None
        self.data = b""
        self.broken = False

    class nobody:
        """Stands for a channel before there is one."""

        left = set()

    def receive(self):
        """The next call. An answer that comes too late for its call is nobody's."""
        with self.reading:
            while self.call is None:
                self.deliver(self.read())
            call, self.call = self.call, None
        return call

    def read(self):
        """One frame. An exception of a signal handler may come at any time and loses no byte."""
        while True:
            data = self.data
            end = 4 + int.from_bytes(data[:4], "big") if len(data) >= 4 else 4
            if len(data) >= end > 4:
                self.data = data[end:]
                return decode(str(memoryview(data)[4:end], "utf-8"))
            if end > 65536:
                self.fill(end)
                continue
            part = self.receive_some(65536)
            if not part:
                # The server has let go of this worker.
                os._exit(0)
            self.data = data + part if data else part

    def fill(self, end):
        """The rest of a large frame, without copying it again for each piece."""
        parts = bytearray(self.data)
        self.broken = True
        while len(parts) < end:
            part = self.receive_some(min(end - len(parts), 1 << 20))
            if not part:
                os._exit(0)
            parts += part
        self.data = bytes(parts)
        self.broken = False

    def deliver(self, frame):
        if "fn" in frame or "op" in frame:
            self.call = frame
            return
        slot = self.slots.get(frame.get("id"))
        if slot is not None:
            slot.answer = frame
            slot.wake()

    def request(self, method, args):
        """Asks the server and waits for its answer."""
        with self.places:
            slot = Slot()
            with self.sending:
                if not self.open or self.is_left():
                    raise RuntimeError(OVER)
                self.count += 1
                ident = self.count
                self.slots[ident] = slot
                self.write(encode({"op": "host", "id": ident, "method": method, "args": args}))
            try:
                return self.wait(slot)
            finally:
                del self.slots[ident]
                self.pass_on()

    def wait(self, slot):
        while slot.answer is None:
            if self.broken:
                raise RuntimeError("the connection to the server was interrupted")
            if self.reading.acquire(False):
                try:
                    while slot.answer is None and self.call is None:
                        self.deliver(self.read())
                finally:
                    self.reading.release()
                if self.call is not None and slot.answer is None:
                    raise RuntimeError(OVER)
            else:
                slot.turn.acquire()
        return slot.answer

    def pass_on(self):
        """Another one reads from here on."""
        for slot in list(self.slots.values()):
            if slot.answer is None:
                slot.wake()
                return

    def is_left(self):
        """Whether this is a thread that an earlier call left behind."""
        return bool(self.left) and native_id() in self.left

    def close(self):
        """Takes no more requests. Those under way are answered with an error by the server."""
        with self.sending:
            self.open = False

    def send(self, text):
        with self.sending:
            self.write(text)

    def write(self, text):
        body = text.encode("utf-8", "replace")
        self.send_all(len(body).to_bytes(4, "big") + body)


OVER = "sdk_client works only while main runs, and for what main started in this call"
