"""What a function logs and prints, line by line and within limits.

Must cost little once a limit is reached: a function may go on printing for ever.
"""

import fcntl
import io
import logging
import mmap
import os
import sys
import threading
import time

from tollgate_frames import encode

now = time.time
thread_id = threading.get_ident

# The journal is memory shared with the server: the newest log lines, then of each stream what was
# written after the last end of a line. Each is a ring: how many bytes were written in all, when the
# first was, and the newest of them.
RING_HEAD = 16
LINES_BYTES = 252 * 1024
REST_BYTES = 2048


class OutputLimit(BaseException):
    """Raised inside the function once it has logged more than it may."""


class Ring:
    """The newest bytes of something, in memory shared with the server."""

    def __init__(self, memory, start, size):
        self.memory = memory
        self.start = start
        self.first = start + RING_HEAD
        self.size = size - RING_HEAD
        self.total = 0

    def put(self, data):
        if not self.total:
            self.memory[self.start + 8 : self.first] = int(now() * 1e6).to_bytes(8, "little")
        length, size = len(data), self.size
        total = self.total + length
        if length > size:
            data = data[-size:]
            length = size
        at = self.first + (total - length) % size
        room = self.first + size - at
        if length <= room:
            self.memory[at : at + length] = data
        else:
            self.memory[at : at + room] = data[:room]
            self.memory[self.first : self.first + length - room] = data[room:]
        self.total = total
        self.memory[self.start : self.start + 8] = total.to_bytes(8, "little")

    def clear(self):
        if self.total:
            self.total = 0
            self.memory[self.start : self.start + 8] = bytes(8)


class Native:
    """What code outside of Python writes to descriptor 1 or 2: a file in memory that the server
    sees too, and that is full at a fixed size."""

    def __init__(self, descriptor, name, level):
        self.descriptor = descriptor
        self.name = name
        self.level = level
        self.memory = mmap.mmap(descriptor, 0)

    def take(self):
        """What was written since the last time, and whether there was no room for more of it."""
        memory = self.memory
        end = memory.find(b"\0")
        full = end < 0
        text = memory[:] if full else memory[:end]
        memory[: len(text)] = bytes(len(text))
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return text, full


class Logs:
    """The log lines of the call that runs, encoded as they come.

    They are also written to the journal, which the server reads only when the worker ended without
    an answer.
    """

    def __init__(self, journal, channel, natives):
        self.ring = Ring(journal, 0, LINES_BYTES)
        self.rests = [
            Ring(journal, LINES_BYTES + number * REST_BYTES, REST_BYTES) for number in range(2)
        ]
        self.channel = channel
        self.natives = natives
        self.native_out, self.native_err = (native.memory for native in natives)
        self.streams = []
        self.main_thread = thread_id()
        self.max_bytes = self.max_lines = 0
        self.running = False
        self.begin()

    def begin(self):
        """Opens the logs, empty: before the module is loaded, and before a later call."""
        if self.native_out[0] or self.native_err[0]:
            # Written between two calls.
            for native in self.natives:
                native.take()
        self.lines = []
        self.bytes = 0
        self.exceeded = None
        self.open = True
        self.clear()

    def clear(self):
        self.ring.clear()
        for rest in self.rests:
            rest.clear()

    def add(self, level, logger, message):
        if self.native_out[0] or self.native_err[0]:
            self.pull()
        self.add_line(level, logger, message)

    def add_line(self, level, logger, message):
        if not self.open:
            if self.exceeded:
                self.stop()
            return
        if self.channel.is_left():
            return
        if message.isascii():
            size = len(message)
        else:
            raw = message.encode("utf-8", "replace")
            message = raw.decode()
            size = len(raw)
        room = self.max_bytes - self.bytes
        if size > room:
            message = message.encode()[:room].decode("utf-8", "ignore")
            self.exceeded = f"more than {amount(self.max_bytes)} of logs"
        elif len(self.lines) >= self.max_lines:
            self.exceeded = f"more than {self.max_lines} log lines"
            message = ""
        self.bytes += size
        if message or not self.exceeded:
            self.append(level, logger, message)
        if self.exceeded:
            self.open = False
            self.append(
                "WARNING", "tollgate", f"The function wrote {self.exceeded}; the rest was cut."
            )
            self.stop()

    def append(self, level, logger, message):
        line = encode((now(), level, logger, message))
        self.lines.append(line)
        self.ring.put(line.encode() + b"\n")

    def pull(self):
        """Takes over what code outside of Python has written."""
        for native in self.natives:
            if not native.memory[0]:
                continue
            data, full = native.take()
            lines = data.decode("utf-8", "replace").split("\n")
            if not lines[-1]:
                lines.pop()
            for line in lines:
                self.add_line(native.level, native.name, line)
            if full:
                note = f"More was written to {native.name} than there was room for; the rest was cut."
                self.add_line("WARNING", "tollgate", note)

    def stop(self):
        # At the top of the module nothing is raised: importing code would wrap it.
        if self.running and thread_id() == self.main_thread:
            raise OutputLimit(self.exceeded)

    def finish(self):
        """The last lines, which had no end, and what came from outside of Python."""
        for stream in self.streams:
            stream.finish()
        if self.native_out[0] or self.native_err[0]:
            self.pull()

    def note(self, message):
        """A line of the host itself."""
        if self.open:
            self.append("WARNING", "tollgate", message)

    def take(self):
        """All lines as a JSON array. What a left-over thread writes afterwards is dropped."""
        self.open = False
        self.exceeded = None
        # These lines belong to no later call, even if that breaks before it begins.
        self.clear()
        lines, self.lines = self.lines, []
        return "[" + ",".join(lines) + "]" if lines else "[]"


def amount(count):
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


class Stream(io.TextIOWrapper):
    """`sys.stdout` or `sys.stderr`: a text stream as Python's own, over [`Raw`]."""

    def __init__(self, raw, noted):
        super().__init__(raw, encoding="utf-8", errors="replace", newline="\n", write_through=True)
        self.mode = "w"
        self.noted = noted

    def detach(self):
        self.noted.changed = True
        return super().detach()

    def reconfigure(self, **options):
        self.noted.changed = True
        return super().reconfigure(**options)

    def close(self):
        self.noted.changed = True
        super().close()


class Raw(io.RawIOBase):
    """The bytes below a stream: whole lines become log lines."""

    mode = "wb"

    def __init__(self, logs, number, name, level):
        self.logs = logs
        self.number = number
        self.name = f"<{name}>"
        self.logger = name
        self.level = level
        self.rest = []
        self.size = 0
        self.ring = logs.rests[number]
        self.writing = threading.RLock()
        logs.streams.append(self)

    @property
    def raw(self):
        return self

    def write(self, data):
        if type(data) is not bytes:
            data = bytes(data)
        logs = self.logs
        if not logs.open:
            self.drop()
            logs.add_line(self.level, self.logger, "")
            return len(data)
        if logs.channel.left and logs.channel.is_left():
            return len(data)
        with self.writing:
            if b"\n" in data:
                if self.rest:
                    first = b"".join(self.rest) + data
                    self.drop()
                else:
                    first = data
                lines = first.decode("utf-8", "replace").split("\n")
                rest = lines.pop()
                for line in lines:
                    logs.add(self.level, self.logger, line)
                    if not logs.open:
                        return len(data)
                if rest:
                    self.keep(rest.encode() if first is not data else data[data.rfind(b"\n") + 1 :])
            elif data:
                self.keep(data)
        return len(data)

    def keep(self, data):
        """The beginning of a line."""
        self.rest.append(data)
        self.size += len(data)
        self.ring.put(data)
        if self.size > self.logs.max_bytes:
            self.finish()

    def drop(self):
        if self.rest:
            self.rest = []
            self.size = 0
            self.ring.clear()

    def finish(self):
        """The last line, which had no end."""
        if self.rest:
            text = b"".join(self.rest).decode("utf-8", "replace")
            self.drop()
            self.logs.add(self.level, self.logger, text)

    def close(self):
        """Nothing: whoever wraps it and lets the wrapper go does not close it for later calls."""

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self.number + 1


NAMES = (("stdout", "INFO"), ("stderr", "ERROR"))


class Streams:
    """`sys.stdout` and `sys.stderr`, and the descriptors 1 and 2 below them."""

    def __init__(self, logs, noted):
        self.noted = noted
        self.raws = [Raw(logs, number, *NAMES[number]) for number in range(2)]
        self.own = [Stream(raw, noted) for raw in self.raws]
        self.files = [file_at(number) for number in (1, 2)]
        # What the descriptors are made from again when a function has replaced them.
        self.spares = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 16) for number in (1, 2)]
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self.own

    def flush(self):
        """Hands on what other streams over these still hold back."""
        for stream in (sys.stdout, sys.stderr):
            if stream not in self.own or self.noted.changed:
                try:
                    stream.flush()
                except Exception:
                    # Closed, detached, or no stream at all.
                    continue

    def put_back(self, names):
        """Makes our own streams new where they were closed, detached or set otherwise. `names` are
        those of `sys` that refer to them."""
        for number, stream in enumerate(self.own):
            try:
                stream.reconfigure(
                    encoding="utf-8", errors="replace", newline="\n",
                    line_buffering=False, write_through=True,
                )  # fmt: skip
            except ValueError:
                fresh = self.own[number] = Stream(self.raws[number], self.noted)
                for name, value in names.items():
                    if value is stream:
                        names[name] = fresh
                        setattr(sys, name, fresh)
        for number, spare in enumerate(self.spares, 1):
            if file_at(number) != self.files[number - 1]:
                os.dup2(spare, number)


def file_at(descriptor):
    """Which file a descriptor refers to; none if to none."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class LogHandler(logging.Handler):
    """The root handler of the `logging` module."""

    def __init__(self, logs):
        super().__init__()
        self.logs = logs

    def emit(self, record):
        try:
            text = self.format(record)
        except RecursionError:
            raise
        except Exception:
            # As Python's own handlers do: a line on stderr, and the program goes on.
            self.handleError(record)
            return
        self.logs.add(level_name(record.levelname), "function", text)


def lead_logging(handler):
    """Sends the `logging` module's records to `handler`. `basicConfig` finds it in place and would
    do nothing at all; so it sets format and level, as it would for a handler of its own."""
    root = logging.root
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    plain = logging.basicConfig

    def basicConfig(**options):
        own = not any(name in options for name in ("handlers", "filename", "stream", "force"))
        if own and root.handlers == [handler]:
            root.removeHandler(handler)
            options.setdefault("format", "%(message)s")
            plain(**options, handlers=[handler])
        else:
            plain(**options)

    basicConfig.__doc__ = plain.__doc__
    logging.basicConfig = basicConfig


LEVELS = {
    "debug": "DEBUG", "info": "INFO", "warning": "WARNING", "warn": "WARNING",
    "error": "ERROR", "critical": "ERROR", "fatal": "ERROR",
}  # fmt: skip


def level_name(level):
    return LEVELS.get(str(level).lower(), "INFO")


def shown(value, how):
    """`how(value)`, or that it cannot be shown: a log line must not end a run."""
    try:
        return how(value)
    except Exception as error:
        return f"<{type(value).__name__}, not shown: {type(error).__name__}>"


def make_log(logs):
    def log(message, level="info", **extra):
        """Writes one line to the invocation's logs."""
        text = shown(message, str)
        for name, value in extra.items():
            text += f" {name}={shown(value, repr)}"
        logs.add(shown(level, level_name), "function", text)

    return log
