"""A worker: one function version, loaded once, called again and again.

Must give back a worker that is fit for the next call, or end the process.
"""

import asyncio
import builtins
import gc
import inspect
import linecache
import mmap
import os
import random
import sys
import traceback
import types
from _thread import _count as thread_count

from tollgate_check import NO_MAIN, check, describe_syntax, fault_of_counts
from tollgate_client import Client, Platform, PlatformError
from tollgate_fit import Fitness, no_room, noted, set_variable
from tollgate_frames import Channel, encode
from tollgate_http import install
from tollgate_logs import (
    LogHandler, Logs, Native, OutputLimit, Streams, lead_logging, make_log,
)  # fmt: skip
from tollgate_plain import script
from tollgate_results import NotJson, to_json
from tollgate_walls import bound_memory

# Descriptors of a worker, beside its streams.
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
    to_json(module.main({"a": 1.5}))
    fault_of(module.main)
    Fitness.rehearse()


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
    natives = [Native(1, "stdout", "INFO"), Native(2, "stderr", "ERROR")]
    logs = Logs(journal, channel, natives)
    function = Function(request, logs, channel)
    channel.open = True
    failure = function.load()
    if failure is not None:
        channel.send(failed(failure, logs))
        os._exit(0)
    channel.close()
    left = ',"left":true' if thread_count() else ""
    channel.send('{"op":"ready","pid":' + str(os.getpid()) + left + "}")
    while True:
        call = channel.receive()
        channel.send(function.answer(call))


def failed(failure, logs, state=""):
    return '{"op":"failed","failure":' + encode(failure) + ',"logs":' + logs.take() + state + "}"


def failure_of(kind, message, trace=None):
    return {"kind": kind, "message": message, "traceback": trace}


class Function:
    """One version of one function: its module, and how `main` is called."""

    def __init__(self, request, logs, channel):
        limits = request["limits"]
        self.limits = {**limits, "memory_mb": request["memory_mb"]}
        self.logs = logs
        self.channel = channel
        logs.max_bytes = limits["log_bytes"]
        logs.max_lines = limits["log_lines"]
        self.result_bytes = limits["result_bytes"]
        self.error_bytes = limits["error_bytes"]
        self.code = request["code"].lstrip("\ufeff")
        self.filename = request["slug"] + ".py"
        self.platform = Platform(channel)
        self.client = Client(self.platform)
        self.streams = Streams(logs, noted)
        self.fitness = Fitness(logs, self.streams, request["memory_mb"])
        self.main = None
        self.arity = 0
        self.called = False
        self.pid = os.getpid()
        self.seen = {}
        self.exports = ("TARUVI_EXECUTION_ID", "TARUVI_USER_ID", "TARUVI_USER_EMAIL")
        os.environ.pop("MALLOC_ARENA_MAX", None)
        os.environ.update(request["env"])

    # Loading

    def load(self):
        """Runs the top of the module. Returns a failure or None."""
        lead_logging(LogHandler(self.logs))
        builtins.log = make_log(self.logs)
        builtins.PlatformError = PlatformError
        install(self.client.http, PlatformError)
        script(self.filename)
        # Never checked against a file, because there is none.
        linecache.cache[self.filename] = (
            len(self.code), None, self.code.splitlines(True), self.filename,
        )  # fmt: skip
        module = types.ModuleType(MODULE)
        module.__file__ = self.filename
        # Python's own: the host has others for itself.
        module.__builtins__ = builtins
        sys.modules[MODULE] = sys.modules["__main__"] = module
        try:
            exec(compile(self.code, self.filename, "exec", dont_inherit=True), module.__dict__)
        except BaseException as error:
            return self.not_loaded(error)
        self.finish_logs()
        failure = self.find_main(module)
        if failure is None:
            self.fitness.remember()
        return failure

    def not_loaded(self, error):
        limit = no_room(error, self.limits)
        if limit:
            traceback.clear_frames(error.__traceback__)
            return failure_of("limit", limit)
        self.finish_logs()
        if isinstance(error, SyntaxError) and error.filename == self.filename:
            return failure_of("load", describe_syntax(error), self.trace(error))
        return failure_of("load", self.title(error), self.trace(error))

    def find_main(self, module):
        self.main = getattr(module, "main", None)
        if not callable(self.main):
            return failure_of("load", NO_MAIN)
        self.arity, fault = fault_of(self.main)
        return failure_of("load", fault) if fault else None

    # Calling

    def answer(self, call):
        logs, channel = self.logs, self.channel
        if self.called:
            logs.begin()
        self.called = logs.running = channel.open = True
        text = failure = None
        try:
            text = self.invoke(call)
        except BaseException as error:
            logs.running = False
            if noted.changed:
                self.fitness.put_back_builtins()
            failure = self.explain(error)
        logs.running = False
        if noted.changed:
            # Python's library, which does the rest, needs them.
            self.fitness.put_back_builtins()
        channel.close()
        self.finish_logs()
        if logs.exceeded:
            failure = failure_of("limit", f"The function wrote {logs.exceeded} and was stopped.")
        elif failure is None:
            failure = self.oversized(text)
        if os.getpid() != self.pid:
            # A child that the function forked must not answer in its parent's place.
            os._exit(0)
        state = self.state()
        if failure is not None:
            return failed(failure, logs, state)
        return '{"op":"result","result":' + text + ',"logs":' + logs.take() + state + "}"

    def state(self):
        """What the server has to know about the worker before its next call; mostly nothing."""
        reason = self.fitness.look()
        if self.channel.broken:
            reason = reason or "its connection to the server was interrupted"
        state = ""
        if reason:
            state = ',"unfit":' + encode(reason)
        elif thread_count():
            state = ',"left":true'
        if self.fitness.is_large():
            state += ',"large":true'
        return state

    def finish_logs(self):
        """What was printed last, also through streams that hold it back."""
        self.streams.flush()
        self.logs.finish()

    def invoke(self, call):
        """Calls `main` and returns its result as JSON text."""
        context = call["fn"]
        user = call["user"] or {}
        values = (context["execution_id"], user.get("id"), user.get("email"))
        for name, value in zip(self.exports, values):
            if self.seen.get(name, self) != value:
                self.export(name, value)
        self.platform.app_slug = context["app_slug"]
        params = call["params"]
        if isinstance(params, dict):
            params["__function__"] = context
        result = self.main(*(params, call["user"], self.client)[: self.arity])
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return to_json(result)

    def export(self, name, value):
        """Sets an environment variable that differs from call to call."""
        self.seen[name] = value
        set_variable(os.environ, name, "" if value is None else str(value))
        key = os.fsencode(name)
        self.fitness.environ[key] = os.environ._data[key]

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
        if isinstance(error, OutputLimit):
            return None
        limit = no_room(error, self.limits)
        if limit:
            trace = None if isinstance(error, MemoryError) else self.trace(error)
            traceback.clear_frames(error.__traceback__)
            return failure_of("limit", limit, trace)
        if isinstance(error, NotJson):
            return failure_of("not_json", f"The result is not JSON: {error}.")
        return failure_of("exception", self.title(error), self.trace(error))

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


def fault_of(main):
    """How many positional arguments `main` is given, and what is wrong with its parameters."""
    if type(main) is types.FunctionType and not hasattr(main, "__wrapped__"):
        # The plain case, without the cost of a signature.
        code = main.__code__
        any_number = bool(code.co_flags & inspect.CO_VARARGS)
        positional = code.co_argcount
        needed = positional - len(main.__defaults__ or ())
        given = main.__kwdefaults__ or ()
        names = code.co_varnames[positional : positional + code.co_kwonlyargcount]
        named = [name for name in names if name not in given]
    else:
        try:
            parameters = inspect.signature(main).parameters.values()
        except (TypeError, ValueError):
            return 1, None
        any_number = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        by_place = [
            parameter
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        positional = len(by_place)
        needed = sum(parameter.default is parameter.empty for parameter in by_place)
        named = [
            parameter.name
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        ]
    count = 3 if any_number else min(positional, 3)
    return count, fault_of_counts(positional, needed, any_number, named)
