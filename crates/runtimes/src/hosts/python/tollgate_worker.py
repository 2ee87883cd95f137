"""A worker: one function version, loaded once, called again and again.

Must give back a worker that is fit for the next call, or end the process.
"""

import asyncio
import builtins
import errno
import gc
import inspect
import linecache
import logging
import math
import mmap
import os
import random
import sys
import traceback
import types

from tollgate_check import NO_MAIN, NO_PARAMETERS, check, describe_syntax
from tollgate_client import Client, Platform, PlatformError
from tollgate_frames import Channel, encode
from tollgate_http import install
from tollgate_logs import LogHandler, Logs, OutputLimit, Stream, make_log
from tollgate_walls import bound_memory

# Descriptors of a worker.
SOCKET_FD = 3
JOURNAL_FD = 4
# The name under which the function's module is known to Python.
MODULE = "function"


def rehearse():
    """Does, before anybody waits, what a load does: touches the pages that it will write to."""
    gc.enable()
    random.seed()
    code = "import json\ndef main(params, user=None):\n    return {'a': [f'{params}']}\n"
    module = types.ModuleType(MODULE)
    exec(compile(code, "rehearsal.py", "exec", dont_inherit=True), module.__dict__)
    encode(module.main({"a": 1.5}))
    positional_count(module.main)


def work(data_bytes):
    """The life of a worker: one `check`, or one `load` and then calls until the server lets go."""
    channel = Channel(SOCKET_FD)
    journal = mmap.mmap(JOURNAL_FD, 0)
    os.close(JOURNAL_FD)
    request = channel.receive()
    bound_memory(data_bytes, request)
    if request["op"] == "check":
        channel.send(encode(check(request["code"])))
        os._exit(0)
    logs = Logs(journal)
    platform = Platform(channel)
    function = Function(request, logs, platform)
    failure = function.load()
    if failure is not None:
        channel.send(failed(failure, logs))
        os._exit(0)
    channel.send(encode({"op": "ready", "pid": os.getpid()}))
    while True:
        call = channel.receive()
        channel.send(function.answer(call))


def failed(failure, logs):
    return '{"op":"failed","failure":' + encode(failure) + ',"logs":' + logs.take() + "}"


def failure_of(kind, message, trace=None):
    return {"kind": kind, "message": message, "traceback": trace}


class NotJson(Exception):
    """What `main` returned cannot be written as JSON."""


class Function:
    """One version of one function: its module, and how `main` is called."""

    def __init__(self, request, logs, platform):
        limits = request["limits"]
        self.logs = logs
        logs.max_bytes = limits["log_bytes"]
        logs.max_lines = limits["log_lines"]
        self.result_bytes = limits["result_bytes"]
        self.error_bytes = limits["error_bytes"]
        self.memory_mb = request["memory_mb"]
        self.code = request["code"].lstrip("\ufeff")
        self.filename = request["slug"] + ".py"
        self.platform = platform
        self.client = Client(platform)
        self.out = Stream(logs, "stdout", "INFO")
        self.err = Stream(logs, "stderr", "ERROR")
        self.main = None
        self.arity = 0
        self.called = False
        self.pid = os.getpid()
        self.seen = {}
        os.environ.pop("MALLOC_ARENA_MAX", None)
        os.environ.update(request["env"])

    # Loading

    def load(self):
        """Runs the top of the module. Returns a failure or None."""
        sys.stdout, sys.stderr = self.out, self.err
        logging.root.addHandler(LogHandler(self.logs))
        logging.root.setLevel(logging.INFO)
        builtins.log = make_log(self.logs)
        builtins.PlatformError = PlatformError
        install(self.client.http, PlatformError)
        # Never checked against a file, because there is none.
        linecache.cache[self.filename] = (
            len(self.code), None, self.code.splitlines(True), self.filename,
        )  # fmt: skip
        module = types.ModuleType(MODULE)
        module.__file__ = self.filename
        sys.modules[MODULE] = module
        try:
            exec(compile(self.code, self.filename, "exec", dont_inherit=True), module.__dict__)
        except MemoryError:
            return self.out_of_memory()
        except SyntaxError as error:
            if error.filename == self.filename:
                return failure_of("load", describe_syntax(error), self.trace(error))
            return failure_of("load", self.title(error), self.trace(error))
        except BaseException as error:
            return failure_of("load", self.title(error), self.trace(error))
        self.out.finish()
        self.err.finish()
        return self.find_main(module)

    def find_main(self, module):
        self.main = getattr(module, "main", None)
        if not callable(self.main):
            return failure_of("load", NO_MAIN)
        self.arity = min(positional_count(self.main), 3)
        return None if self.arity else failure_of("load", NO_PARAMETERS)

    # Calling

    def answer(self, call):
        logs = self.logs
        if self.called:
            logs.begin()
        self.called = logs.running = self.platform.open = True
        text = failure = None
        try:
            text = self.invoke(call)
        except BaseException as error:
            logs.running = False
            failure = self.explain(error)
        logs.running = False
        # A thread that the function left behind may be in the middle of a request.
        with self.platform.channel.lock:
            self.platform.open = False
        self.out.finish()
        self.err.finish()
        if logs.exceeded:
            failure = failure_of("limit", f"The function wrote {logs.exceeded} and was stopped.")
        elif failure is None:
            failure = self.oversized(text)
        if os.getpid() != self.pid:
            # A child that the function forked must not answer in its parent's place.
            os._exit(0)
        if failure is not None:
            return failed(failure, logs)
        return '{"op":"result","result":' + text + ',"logs":' + logs.take() + "}"

    def invoke(self, call):
        """Calls `main` and returns its result as JSON text."""
        self.export(call)
        self.platform.app_slug = call["fn"]["app_slug"]
        params = call["params"]
        if isinstance(params, dict):
            params["__function__"] = call["fn"]
        result = self.main(*(params, call["user"], self.client)[: self.arity])
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        try:
            text = encode(result)
            if not text.isascii():
                # Half a surrogate pair is legal in a Python string, but not in UTF-8.
                text.encode()
            return text
        except (TypeError, ValueError, RecursionError) as error:
            raise NotJson(find_fault(result, "result", 0) or str(error)) from None

    def export(self, call):
        """Sets the environment variables that differ from call to call."""
        context = call["fn"]
        user = call["user"] or {}
        for name, value in (
            ("TARUVI_EXECUTION_ID", context["execution_id"]),
            ("TARUVI_USER_ID", user.get("id")),
            ("TARUVI_USER_EMAIL", user.get("email")),
        ):
            if self.seen.get(name) != value:
                self.seen[name] = value
                os.environ[name] = "" if value is None else str(value)

    def oversized(self, text):
        # Characters are never more than bytes; only a text near the limit is measured.
        if len(text) * 4 <= self.result_bytes:
            return None
        size = len(text.encode("utf-8", "replace"))
        if size <= self.result_bytes:
            return None
        return failure_of(
            "limit", f"The result is {size} bytes of JSON; the limit is {self.result_bytes}."
        )

    # Failures

    def explain(self, error):
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            traceback.clear_frames(error.__traceback__)
            return self.out_of_memory()
        if isinstance(error, OutputLimit):
            return None
        if isinstance(error, NotJson):
            return failure_of("not_json", f"The result is not JSON: {error}.")
        return failure_of("exception", self.title(error), self.trace(error))

    def out_of_memory(self):
        return failure_of(
            "limit", f"The function needed more than its {self.memory_mb} MiB of memory."
        )

    def title(self, error):
        """`ValueError: text`."""
        name = type(error).__name__
        try:
            text = str(error)
        except BaseException:
            text = "<no text: str() failed>"
        return (f"{name}: {text}" if text else name)[: self.error_bytes]

    def trace(self, error):
        """The traceback with the author's frames only; empty if there are none."""
        try:
            report = traceback.TracebackException.from_exception(error)
            if self.keep_own(report, set()) or isinstance(error, SyntaxError):
                return "".join(report.format())[-self.error_bytes :]
        except BaseException:
            pass
        return ""

    def keep_own(self, report, seen):
        if report is None or id(report) in seen:
            return 0
        seen.add(id(report))
        own = [frame for frame in report.stack if frame.filename == self.filename]
        report.stack = traceback.StackSummary.from_list(own)
        count = len(own)
        for inner in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
            count += self.keep_own(inner, seen)
        return count


def positional_count(main):
    """How many positional arguments `main` takes; many if it takes any number."""
    if type(main) is types.FunctionType and not hasattr(main, "__wrapped__"):
        # The plain case, without the cost of a signature.
        code = main.__code__
        return 3 if code.co_flags & inspect.CO_VARARGS else code.co_argcount
    try:
        parameters = inspect.signature(main).parameters.values()
    except (TypeError, ValueError):
        return 1
    count = 0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return 3
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            count += 1
    return count


def find_fault(value, path, depth):
    """Where a value stops being JSON, in words; None if it is JSON."""
    if value is None or isinstance(value, (bool, int)):
        return None
    if isinstance(value, str):
        return None if is_utf8(value) else f"{path} holds half a surrogate pair"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}"
    if depth > 100:
        return "it refers back to itself, or is nested deeper than 100 levels"
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, (str, int, float, bool, type(None))):
                return f"{path} has a key of type {type(key).__name__}"
            if isinstance(key, str) and not is_utf8(key):
                return f"{path} has a key with half a surrogate pair"
            fault = find_fault(inner, f"{path}[{key!r}]", depth + 1)
            if fault:
                return fault
        return None
    if isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            fault = find_fault(inner, f"{path}[{index}]", depth + 1)
            if fault:
                return fault
        return None
    return f"{path} is of type {type(value).__name__}"


def is_utf8(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
