"""Frames between worker and server: a big-endian 32-bit length and that many bytes of JSON.

User code in a worker can reach all of this; the server therefore trusts no frame.
"""

import json
import os
import socket
import sys
import threading

# How many bytes are asked for where it is not known how many come.
SOME = (65536,)
# Requests of one call that wait for the server at the same time. The server refuses more.
REQUESTS_AT_ONCE = 16

# Bound here, so that user code that replaces `json.dumps` does not break the host.
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
# What `decode` has made do the work, without its search for blanks around the value.
parse = json.JSONDecoder().scan_once
native_id = threading.get_native_id
end_process = os._exit
get_digits = getattr(sys, "get_int_max_str_digits", int)
set_digits = getattr(sys, "set_int_max_str_digits", int)


def decode(text):
    try:
        return parse(text, 0)[0]
    except ValueError:
        # Python refuses to read an integer of more than 4300 digits unless it is told to.
        with any_digits():
            return parse(text, 0)[0]


def encoder_of(default=None, around=None):
    """As the `encode` of a `JSONEncoder` with this `default`, but without the encoder that it makes
    anew for each value. `around`: an empty dictionary, for what it is in the middle of, so that it
    finds what refers back to itself; and then for one thread."""
    plain = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default
    )
    make = json.encoder.c_make_encoder
    if make is None:
        return plain.encode
    of_text = json.encoder.encode_basestring
    pieces = make(around, plain.default, of_text, None, ":", ",", False, False, False)

    def encode_one(value):
        try:
            return "".join(pieces(value, 0))
        except BaseException:
            if around:
                around.clear()
            raise

    return encode_one


class any_digits:
    """Lets integers of any length become text and back."""

    def __enter__(self):
        self.before = get_digits()
        set_digits(0)

    def __exit__(self, *_):
        set_digits(self.before)


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
        self.send_some = self.socket.send
        # What is to be sent, and how much of it was.
        self.unsent = b""
        self.sent = []
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
        self.received = []

    class nobody:
        """Stands for a channel before there is one."""

        left = set()

        def is_left():
            return False

    def await_call(self):
        """Waits until `call` is the next one. An answer that comes too late for its call is nobody's."""
        with self.reading:
            while self.call is None:
                self.take_frame()

    def take_frame(self):
        """Reads one frame and gives it to whom it is for. An exception of a signal handler may come
        between any two steps: so what was received is kept in one step with receiving it, and let go
        in one with giving it on."""
        received = self.received
        if not received:
            received.extend(map(self.receive_some, SOME))
        # Mostly a frame comes in one piece, and alone.
        data = received[0]
        end = 4 + int.from_bytes(data[:4], "big")
        if end == len(data) > 4 and len(received) == 1:
            text, rest = data[4:].decode(), []
        else:
            text, rest = self.first_frame()
        frame = decode(text)
        if "fn" in frame or "op" in frame:
            self.call, self.received = frame, rest
            return
        slot = self.slots.get(frame.get("id"))
        if slot is None:
            self.received = rest
            return
        slot.answer, self.received = frame, rest
        slot.wake()

    def receive_bytes(self, count):
        """So many bytes that follow a frame."""
        received, self.received = self.received, []
        missing = count - sum(map(len, received))
        while missing > 0:
            received.append(self.receive_some(min(missing, 1 << 20)))
            if not received[-1]:
                end_process(0)
            missing -= len(received[-1])
        data = b"".join(received)
        if count < len(data):
            self.received = [data[count:]]
        return data[:count]

    def first_frame(self):
        """The first frame as soon as it is there, and what was received after it."""
        while True:
            size = sum(map(len, self.received))
            end = self.end_of_first(size)
            if size >= end > 4:
                data = memoryview(b"".join(self.received))
                return str(data[4:end], "utf-8"), [bytes(data[end:])] if end < size else []
            most = min(max(end - size, SOME[0]), 1 << 20)
            self.received.extend(map(self.receive_some, (most,)))
            if not self.received[-1]:
                # The server has let go of this worker.
                end_process(0)

    def end_of_first(self, size):
        """Where the first frame ends; 4 where that is not known yet."""
        if size < 4:
            return 4
        first = self.received[0]
        if len(first) < 4:
            first = b"".join(self.received)
        return 4 + int.from_bytes(first[:4], "big")

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
            if self.reading.acquire(False):
                try:
                    while slot.answer is None and self.call is None:
                        self.take_frame()
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
        if self.unsent:
            self.flush()
        self.unsent = framed(text)
        self.flush()

    def flush(self):
        """Sends what is unsent: the answer, or what an exception of a signal handler left of a request.
        Whoever calls it holds `sending`, or has closed the channel.

        What was sent is counted in one step with sending it: a signal handler comes in between steps,
        and its exception must neither lose a byte nor send one twice."""
        unsent, sent = self.unsent, self.sent
        if unsent and not sent:
            sent.extend(map(self.send_some, (unsent,)))
        while (done := sum(sent)) < len(unsent):
            sent.extend(map(self.send_some, (memoryview(unsent)[done:],)))
        self.unsent, self.sent = b"", []


def framed(text):
    body = text.encode("utf-8", "replace")
    return len(body).to_bytes(4, "big") + body


OVER = "sdk_client works only while main runs, and for what main started in this call"
