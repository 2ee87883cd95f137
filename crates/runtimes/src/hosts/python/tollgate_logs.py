"""What a function logs and prints, line by line and within limits.

Must cost little once a limit is reached: a function may go on printing for ever.
"""

import errno
import fcntl
import io
import logging
import mmap
import os
import re
import sys
import threading
import time

from tollgate_frames import Channel, encoder_of
from tollgate_noted import noted

now = time.time
seek, read_at = os.lseek, os.pread
SEEK_CUR = os.SEEK_CUR
HOLE = re.compile(rb"\0{2,}")
thread_id = threading.get_ident

# The journal is memory shared with the server: the newest log lines, then of each stream what was
# written after the last end of a line. Each is a ring: how many bytes were written in all, when the
# first was, and the newest of them.
RING_HEAD = 16
LINES_BYTES = 252 * 1024
REST_BYTES = 2048


encode_line = encoder_of()


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
        # Whatever the function does to the other one.
        self.descriptor = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)
        self.name = name
        self.level = level
        self.memory = mmap.mmap(descriptor, 0)

    def written(self):
        """How far it was written to, by whoever wrote one thing after the other."""
        try:
            return seek(self.descriptor, 0, SEEK_CUR)
        except OSError:
            # The function closed it: the worker serves no other call.
            return 0

    def is_full(self):
        return self.memory[-1] != 0 or self.written() >= len(self.memory)

    def end_of_all(self):
        """Where what was written ends, wherever that is. Reads only what somebody touched: the rest is
        hundreds of pages without memory."""
        end = place = 0
        try:
            while True:
                start = seek(self.descriptor, place, os.SEEK_DATA)
                place = seek(self.descriptor, start, os.SEEK_HOLE)
                part = read_at(self.descriptor, place - start, start)
                if part != bytes(len(part)):
                    end = start + len(part.rstrip(b"\0"))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return end

    def take(self, everywhere):
        """What was written since the last time, and whether there was no room for more of it.
        `everywhere`: also what was written beyond the place that writing has come to."""
        memory = self.memory
        full = self.is_full()
        end = min(self.written(), len(memory))
        try:
            if everywhere or not end:
                end = self.end_of_all()
            seek(self.descriptor, 0, os.SEEK_SET)
        except OSError:
            end = len(memory[:].rstrip(b"\0"))
        text = memory[:end]
        memory[:end] = bytes(end)
        # Where somebody went further without writing there is nothing.
        return HOLE.sub(b"\0", text), full


class Logs:
    """The log lines of the call that runs, encoded as they come.

    They are also written to the journal, which the server reads only when the worker ended without
    an answer.
    """

    def __init__(self, journal, channel, natives):
        self.ring = Ring(journal, 0, LINES_BYTES)
        self.rests = [
            Unfinished(Ring(journal, LINES_BYTES + number * REST_BYTES, REST_BYTES))
            for number in range(2)
        ]
        self.channel = channel
        self.natives = natives
        self.native_out, self.native_err = (native.memory for native in natives)
        self.descriptors = [native.descriptor for native in natives]
        self.streams = []
        self.main_thread = thread_id()
        self.max_bytes = self.max_lines = 0
        self.running = False
        self.begin(True)

    def begin(self, disturbed):
        """Opens the logs, empty: before the module is loaded, and before a later call. `disturbed`:
        something else than the host may have run since the call before."""
        if disturbed or self.native_out[0] or self.native_err[0]:
            self.drop_natives()
            self.clear()
        self.lines = []
        self.bytes = 0
        self.exceeded = None
        self.open = True

    def drop_natives(self):
        """What was written between two calls."""
        for native in self.natives:
            if native.memory[0] or native.written():
                native.take(True)

    def clear(self):
        self.ring.clear()
        for rest in self.rests:
            rest.ring.clear()

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
        line = encode_line((now(), level, logger, message))
        self.lines.append(line)
        self.ring.put(line.encode() + b"\n")

    def pull(self, everywhere=False):
        """Takes over what code outside of Python has written."""
        for native in self.natives:
            if not (everywhere or native.memory[0] or native.written()):
                continue
            data, full = native.take(everywhere)
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
        out, err = self.rests
        if out.parts or err.parts:
            for stream in self.streams:
                stream.finish()
        if self.native_out[0] or self.native_err[0] or noted.changed:
            self.pull(noted.changed)
            return
        # What begins with a zero is told by the place alone.
        out, err = self.descriptors
        try:
            moved = seek(out, 0, SEEK_CUR) or seek(err, 0, SEEK_CUR)
        except OSError:
            moved = True
        if moved:
            self.pull()

    def is_full(self):
        """Whether code outside of Python wrote more than it may."""
        return any(native.is_full() for native in self.natives)

    def note(self, message):
        """A line of the host itself."""
        if self.open:
            self.append("WARNING", "tollgate", message)

    def take(self):
        """All lines as a JSON array. What a left-over thread writes afterwards is dropped."""
        self.open = False
        # These lines belong to no later call, even if that breaks before it begins.
        out, err = self.rests
        if self.ring.total or out.ring.total or err.ring.total:
            self.clear()
        return "[" + ",".join(self.lines) + "]"


def rehearse():
    """Does what a worker does before its module runs, for the sake of the memory that it writes to."""
    try:
        # A file that nobody sees, in the place of the memory that a worker is handed: making such is none of
        # its business, and the walls forbid it.
        memory = os.open(os.environ["HOME"], os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (KeyError, OSError):
        return
    os.ftruncate(memory, LINES_BYTES + 2 * REST_BYTES)
    natives = [Native(memory, *names) for names in NAMES]
    before = {name: getattr(sys, name) for name in STREAMS}
    logs = Logs(natives[0].memory, Channel.nobody, natives)
    streams = Streams(logs)
    logs.max_bytes = logs.max_lines = 1000
    print("rehearsal")
    streams.flush()
    logs.finish()
    logs.take()
    for name, stream in before.items():
        setattr(sys, name, stream)
    # So that the streams end here: if the collector ended them, that would be noted as the function's
    # doing.
    logs.streams.clear()
    for descriptor in (memory, *streams.spares):
        os.close(descriptor)
    for native in natives:
        native.memory.close()


def amount(count):
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


class Watched:
    """Notes what is done to a stream that later calls use too."""

    def __setattr__(self, name, value):
        noted.changed = True
        super().__setattr__(name, value)

    def detach(self):
        noted.changed = True
        return super().detach()

    def reconfigure(self, **options):
        noted.changed = True
        return super().reconfigure(**options)

    def close(self):
        noted.changed = True
        super().close()


class Stream(Watched, io.TextIOWrapper):
    """`sys.stdout` or `sys.stderr`: a text stream as Python's own, over [`Raw`]."""

    def __init__(self, raw):
        super().__init__(raw, encoding="utf-8", errors="replace", newline="\n", write_through=True)
        self.mode = "w"


class Input(Watched, io.TextIOWrapper):
    """`sys.stdin`."""

    def __init__(self):
        super().__init__(Nothing(), encoding="utf-8", errors="surrogateescape")
        self.mode = "r"


class Nothing(io.RawIOBase):
    """The bytes below `sys.stdin`: none, unless the function made descriptor 0 something else."""

    name = "<stdin>"
    mode = "rb"

    def readinto(self, buffer):
        return os.readv(0, [buffer])

    def close(self):
        """Nothing: later calls ask for input too."""

    def readable(self):
        return True

    def fileno(self):
        return 0


class Unfinished:
    """The beginning of a line. A left-over thread may write at any time."""

    __slots__ = ("parts", "size", "ring")

    def __init__(self, ring):
        self.parts = []
        self.size = 0
        self.ring = ring

    def keep(self, data):
        self.parts.append(data)
        self.size += len(data)
        self.ring.put(data)

    def drop(self):
        """Gives what there was."""
        if not self.parts:
            return b""
        data = b"".join(self.parts)
        self.parts = []
        self.size = 0
        self.ring.clear()
        return data


class Raw(io.RawIOBase):
    """The bytes below a stream: whole lines become log lines."""

    mode = "wb"

    def __init__(self, logs, number, name, level):
        self.logs = logs
        self.number = number
        self.name = f"<{name}>"
        self.logger = name
        self.level = level
        self.rest = logs.rests[number]
        self.writing = threading.RLock()
        logs.streams.append(self)

    def __setattr__(self, name, value):
        noted.changed = True
        super().__setattr__(name, value)

    @property
    def raw(self):
        return self

    def write(self, data):
        if type(data) is not bytes:
            data = bytes(data)
        logs = self.logs
        if not logs.open:
            self.rest.drop()
            logs.add_line(self.level, self.logger, "")
            return len(data)
        if logs.channel.left and logs.channel.is_left():
            return len(data)
        with self.writing:
            if b"\n" in data:
                before = self.rest.drop()
                first = before + data if before else data
                lines = first.decode("utf-8", "replace").split("\n")
                lines.pop()
                for line in lines:
                    logs.add(self.level, self.logger, line)
                    if not logs.open:
                        return len(data)
                rest = data[data.rfind(b"\n") + 1 :]
                if rest:
                    self.keep(rest)
            elif data:
                self.keep(data)
        return len(data)

    def keep(self, data):
        self.rest.keep(data)
        if self.rest.size > self.logs.max_bytes:
            self.finish()

    def finish(self):
        """The last line, which had no end."""
        if self.rest.parts:
            self.logs.add(self.level, self.logger, self.rest.drop().decode("utf-8", "replace"))

    def close(self):
        """Nothing: whoever wraps it and lets the wrapper go does not close it for later calls."""

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self.number + 1


NAMES = (("stdout", "INFO"), ("stderr", "ERROR"))
STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
# How each stream is set.
OUTPUT = {
    "encoding": "utf-8", "errors": "replace", "newline": "\n",
    "line_buffering": False, "write_through": True,
}  # fmt: skip
INPUT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": None}


class Streams:
    """`sys.stdin`, `sys.stdout` and `sys.stderr`, and the descriptors below them."""

    def __init__(self, logs):
        self.raws = [Raw(logs, number, *NAMES[number]) for number in range(2)]
        self.plain = [dict(vars(raw)) for raw in self.raws]
        self.own = [Input(), *map(Stream, self.raws)]
        self.files = [file_at(number) for number in range(3)]
        # What the descriptors are made from again when a function has replaced them.
        spare = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 16)
        self.spares = [spare, *(native.descriptor for native in logs.natives)]
        sys.stdin, sys.stdout, sys.stderr = self.own
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = self.own

    def flush(self):
        """Hands on what other streams over these still hold back."""
        _, out, err = self.own
        try:
            if not noted.changed and sys.stdout is out and sys.stderr is err:
                return
        except AttributeError:
            # There is none any more.
            noted.changed = True
        for name in ("stdout", "stderr"):
            try:
                getattr(sys, name).flush()
            except Exception:
                # Closed, detached, or no stream at all.
                continue

    def put_back(self):
        """Makes our own streams new where they were closed, detached, replaced in part or set
        otherwise. Whether `sys` has other ones now."""
        self.reopen()
        return any([self.fresh(number) for number in range(3)])

    def reopen(self):
        """Makes the descriptors refer to what they did."""
        for number, spare in enumerate(self.spares):
            if file_at(number) != self.files[number]:
                os.dup2(spare, number)

    def fresh(self, number):
        stream = self.own[number]
        values = vars(stream)
        if number and vars(self.raws[number - 1]) != self.plain[number - 1]:
            vars(self.raws[number - 1]).clear()
            vars(self.raws[number - 1]).update(self.plain[number - 1])
        try:
            stream.reconfigure(**(OUTPUT if number else INPUT))
            values.clear()
            values["mode"] = "w" if number else "r"
            return False
        except ValueError:
            new = self.own[number] = Stream(self.raws[number - 1]) if number else Input()
        for name in STREAMS:
            if getattr(sys, name) is stream:
                setattr(sys, name, new)
        return True


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
