"""What a function logs and prints, line by line and within limits.

Must cost little once a limit is reached: a function may go on printing for ever.
"""

import io
import logging
import threading
import time

from tollgate_frames import encode

now = time.time


class OutputLimit(BaseException):
    """Raised inside the function once it has logged more than it may."""


class Logs:
    """The log lines of the call that runs, encoded as they come.

    They are also written to the journal, memory shared with the server, which reads it only when
    the worker ended without an answer.
    """

    def __init__(self, journal):
        self.journal = journal
        self.main_thread = threading.get_ident()
        self.max_bytes = self.max_lines = 0
        self.running = False
        self.begin()

    def begin(self):
        """Opens the logs, empty: before the module is loaded, and before a later call."""
        self.lines = []
        self.bytes = 0
        self.position = 0
        self.exceeded = None
        self.open = True
        self.journal[0] = 0

    def add(self, level, logger, message):
        if not self.open:
            if self.exceeded:
                self.stop()
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
        data = line.encode()
        end = self.position + len(data) + 1
        if end < len(self.journal):
            self.journal[self.position : end + 1] = data + b"\n\0"
            self.position = end

    def stop(self):
        # At the top of the module nothing is raised: importing code would wrap it.
        if self.running and threading.get_ident() == self.main_thread:
            raise OutputLimit(self.exceeded)

    def take(self):
        """All lines as a JSON array. What a left-over thread writes afterwards is dropped."""
        self.open = False
        self.exceeded = None
        # These lines belong to no later call, even if that breaks before it begins.
        self.journal[0] = 0
        lines, self.lines = self.lines, []
        return "[" + ",".join(lines) + "]" if lines else "[]"


def amount(count):
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


class Stream(io.TextIOBase):
    """`sys.stdout` and `sys.stderr`: whole lines become log lines."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, logs, name, level):
        self.logs = logs
        self.name = name
        self.level = level
        self.rest = ""
        self.writing = threading.RLock()
        self.buffer = Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        logs = self.logs
        if not logs.open:
            self.rest = ""
            logs.add(self.level, self.name, "")
            return len(text)
        with self.writing:
            self.rest += text
            if "\n" in text:
                lines = self.rest.split("\n")
                self.rest = lines.pop()
                for line in lines:
                    logs.add(self.level, self.name, line)
                    if not logs.open:
                        break
            elif len(self.rest) > logs.max_bytes:
                self.finish()
        return len(text)

    def finish(self):
        """The last line, which had no end."""
        rest, self.rest = self.rest, ""
        if rest:
            self.logs.add(self.level, self.name, rest)

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        raise io.UnsupportedOperation("the function's output is not a file")


class Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, data):
        self.stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def writable(self):
        return True


class LogHandler(logging.Handler):
    """The root handler of the `logging` module."""

    def __init__(self, logs):
        super().__init__()
        self.logs = logs

    def emit(self, record):
        self.logs.add(level_name(record.levelname), "function", self.format(record))


LEVELS = {
    "debug": "DEBUG", "info": "INFO", "warning": "WARNING", "warn": "WARNING",
    "error": "ERROR", "critical": "ERROR", "fatal": "ERROR",
}  # fmt: skip


def level_name(level):
    return LEVELS.get(str(level).lower(), "INFO")


def make_log(logs):
    def log(message, level="info", **extra):
        """Writes one line to the invocation's logs."""
        text = str(message)
        for name, value in extra.items():
            text += f" {name}={value!r}"
        logs.add(level_name(level), "function", text)

    return log
