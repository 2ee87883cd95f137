"""A worker: one function version, loaded once, called again and again.

Must give back a worker that is fit for the next call, or end the process.
"""

import asyncio
import builtins
import gc
import importlib
import inspect
import linecache
import mmap
import os
import random
import sys
import time
import traceback
import types
from _signal import SIG_IGN as IGNORED
from _signal import setitimer as set_timer
from _signal import signal as set_handler
from _thread import _count as thread_count
from os import _exit as end_process
from itertools import starmap
from os import getpid
from types import CoroutineType

import tollgate_logs
from tollgate_check import check, describe_syntax, fault_of_counts, hint_for, no_function
from tollgate_client import Client, Platform, PlatformError
from tollgate_environ import Variable
from tollgate_files import unpack
from tollgate_fit import TIMERS, Fitness
from tollgate_frames import Channel, encode, framed
from tollgate_http import install
from tollgate_limits import TRACEBACK, is_refused, no_room
from tollgate_logs import (
    LogHandler, Logs, Native, OutputLimit, Streams, amount, lead_logging, make_log,
)  # fmt: skip
from tollgate_noted import noted
from tollgate_plain import script
from tollgate_results import NotJson, to_json
from tollgate_walls import bound_memory

# Descriptors of a worker, beside its streams.
SOCKET_FD = 3
JOURNAL_FD = 4
# The name under which the function's module is known to Python.
MODULE = "function"
# What it imports the platform from.
PLATFORM = "tollgate"
# Whom a call is from that nobody made: id and e-mail address.
NOBODY = (None, None)
# How often a step of the host is begun again.
TRIES = 200


def rehearse():
    """Does, before anybody waits, what a load does: touches the pages that it will write to."""
    gc.enable()
    random.seed()
    code = "import json\ndef main(params, user=None):\n    return {'a': [f'{params}']}\n"
    module = types.ModuleType(MODULE)
    exec(compile(code, "rehearsal.py", "exec", dont_inherit=True), module.__dict__)
    to_json(module.main({"a": 1.5}))
    fault_of(module.main, "main")
    tollgate_logs.rehearse()
    Fitness.rehearse()


def work(data_bytes, may_fork=True):
    """The life of a worker: one `check`, or one `load` and then calls until the server lets go.
    `may_fork`: no wall keeps the function from it."""
    channel = Channel(SOCKET_FD)
    journal = mmap.mmap(JOURNAL_FD, 0)
    os.close(JOURNAL_FD)
    channel.await_call()
    request, channel.call = channel.call, None
    files = request.get("files")
    encoded = channel.receive_bytes(files["bytes"]) if files else b""
    # From here on it is the code that takes time.
    channel.send('{"op":"begun"}')
    bound_memory(data_bytes, request)
    if request["op"] == "check":
        channel.send(encode(check(request["code"], request["function"])))
        end_process(0)
    natives = [Native(1, "stdout", "INFO"), Native(2, "stderr", "ERROR")]
    logs = Logs(journal, channel, natives)
    function = Function(request, logs, channel, may_fork)
    channel.open = True
    try:
        function.load(encoded)
        del encoded
    except BaseException:
        # It came when the module had run already, and says nothing about it.
        pass
    while True:
        # What comes in between two steps, and so past the inner loop, is met here.
        try:
            function.live()
        except BaseException:
            for timer in TIMERS:
                set_timer(timer, 0)
            if function.tries > TRIES:
                raise


def failed(failure, logs, state=""):
    return '{"op":"failed","failure":' + encode(failure) + ',"logs":' + logs.take() + state + "}"


def failure_of(kind, message, trace=None):
    return {"kind": kind, "message": message, "traceback": trace}


class Function:
    """One version of one function: its module, and how `main` is called."""

    def __init__(self, request, logs, channel, may_fork):
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
        self.function = request["function"]
        self.files = request["files"]
        # The folder of the author's files, where there are several.
        self.root = None
        self.platform = Platform(channel)
        self.client = Client(self.platform)
        self.streams = Streams(logs)
        self.fitness = Fitness(logs, self.streams, request["memory_mb"])
        self.main = None
        self.arity = 0
        self.called = False
        # Signals that are not heard between calls.
        self.deaf = []
        # What `main` gave and, if that is a coroutine, what it gave: each in a list; or an exception.
        # And whether that is yet to be told.
        self.result = self.later = self.error = None
        # What became of that: a text and a failure, one of them None.
        self.ended = None
        self.answers = False
        self.introduced = self.failed = False
        # How often the step that is due was begun in vain.
        self.tries = 0
        self.pid = getpid()
        self.may_fork = may_fork
        self.execution, *self.of_user = self.fitness.variables_of_calls = [
            Variable(name) for name in ("TARUVI_EXECUTION_ID", "TARUVI_USER_ID", "TARUVI_USER_EMAIL")
        ]
        self.who = None
        os.environ.pop("MALLOC_ARENA_MAX", None)
        os.environ.update(request.pop("variables"))
        # Last: nobody has names of the platform.
        os.environ.update(request["env"])
        if "TZ" in os.environ:
            time.tzset()

    # Loading

    def load(self, encoded):
        """Runs the top of the module, in the midst of its files."""
        lead_logging(LogHandler(self.logs))
        builtins.log = make_log(self.logs)
        builtins.PlatformError = PlatformError
        platform = sys.modules[PLATFORM] = types.ModuleType(PLATFORM)
        platform.sdk_client, platform.log = self.client, builtins.log
        platform.PlatformError = PlatformError
        install(self.client.http, PlatformError)
        try:
            if self.files:
                self.load_files(encoded)
            else:
                self.load_single()
        except BaseException as error:
            self.error = error

    def load_single(self):
        script(self.filename)
        # Never checked against a file, because there is none.
        linecache.cache[self.filename] = (
            len(self.code), None, self.code.splitlines(True), self.filename,
        )  # fmt: skip
        module = self.module = types.ModuleType(MODULE)
        module.__file__ = self.filename
        # Python's own: the host has others for itself.
        module.__builtins__ = builtins
        sys.modules[MODULE] = sys.modules["__main__"] = module
        exec(compile(self.code, self.filename, "exec", dont_inherit=True), module.__dict__)

    def load_files(self, encoded):
        self.root = unpack(encoded)
        self.filename = os.path.join(self.root, self.files["file"])
        script(self.filename)
        sys.path.insert(0, self.root)
        self.module = sys.modules["__main__"] = importlib.import_module(self.files["module"])

    def is_own(self, filename):
        """Whether a file is the author's."""
        return filename == self.filename or (
            self.root is not None and filename is not None and filename.startswith(self.root + "/")
        )

    def shown(self, filename):
        """The name of one of the author's files, as they know it."""
        return filename if self.root is None else os.path.relpath(filename, self.root)

    def live(self):
        """Does one step after the other. Signal handlers of the function, and exceptions that its
        threads send to this one, may come in at any place: then the step is done again."""
        while True:
            try:
                self.step()
            except BaseException:
                # Before anything else: the next one may be due.
                for timer in TIMERS:
                    set_timer(timer, 0)
                self.tries += 1
                if self.tries > TRIES:
                    raise

    def step(self):
        channel = self.channel
        if not self.introduced:
            self.introduce()
        if self.answers:
            self.finish()
        channel.flush()
        if channel.call is None:
            self.tries = 0
            channel.await_call()
        self.serve()
        self.finish()

    def introduce(self):
        """Tells the server what became of the module."""
        channel = self.channel
        if not self.answers:
            failure = self.loaded()
            channel.close()
            if failure is None:
                left = ',"left":true' if thread_count() else ""
                answer = framed('{"op":"ready","pid":' + str(self.pid) + left + "}")
            else:
                answer = framed(failed(failure, self.logs))
            channel.flush()
            channel.unsent, self.answers, self.failed = answer, True, failure is not None
        channel.flush()
        if self.failed:
            end_process(0)
        self.answers, self.introduced = False, True

    def loaded(self):
        """Why the module does not serve; None if it does. What there is then is as it should be."""
        self.fitness.settle()
        failure = None
        if self.error is None:
            try:
                failure = self.find_main(self.module)
            except BaseException as error:
                self.error = error
        if self.error is not None:
            failure = self.explain(self.error, "load")
        self.streams.flush()
        self.logs.finish()
        if failure is None:
            self.fitness.remember()
            if thread_count():
                self.deafen()
        return failure

    def find_main(self, module):
        self.main = getattr(module, self.function, None)
        if not callable(self.main):
            return failure_of("load", no_function(self.function))
        self.arity, fault = fault_of(self.main, self.function)
        return failure_of("load", fault) if fault else None

    # Calling

    def serve(self):
        """Runs the call that has come."""
        logs, channel = self.logs, self.channel
        if self.called:
            # A step that is done again was disturbed as well.
            logs.begin(self.fitness.disturbed or self.tries > 0)
        if self.deaf:
            self.hear()
        self.called = logs.running = channel.open = True
        self.result, self.later, self.ended = [], None, None
        call, channel.call, self.answers = channel.call, None, True
        try:
            self.invoke(call)
        except BaseException as error:
            self.error = error

    def finish(self):
        """What is left to do when `main` has ended. Its answer is then on its way."""
        logs, channel = self.logs, self.channel
        logs.running = False
        if noted.changed:
            self.fitness.settle()
            self.fitness.restore_host()
        channel.close()
        if self.ended is None:
            self.ended = self.outcome()
        text, failure = self.ended
        # What it held may print as it goes, which belongs to this call, as does what streams hold back.
        self.result = self.later = self.error = None
        self.streams.flush()
        logs.finish()
        if logs.exceeded:
            failure = failure_of("limit", f"The function wrote {logs.exceeded} and was stopped.")
        if self.may_fork and getpid() != self.pid:
            # A child that the function forked must not answer in its parent's place.
            end_process(0)
        state = self.state()
        if failure is None:
            answer = framed(f'{{"op":"result","result":{text},"logs":{logs.take()}{state}}}')
        else:
            answer = framed(failed(failure, logs, state))
        if channel.unsent:
            channel.flush()
        channel.unsent, self.answers = answer, False
        # All this is the server's now.
        self.ended, logs.lines = None, []

    def outcome(self):
        """The JSON of what `main` gave, or the failure that it ended with."""
        text = None
        if result := self.returned():
            # An exception that came when `main` had returned says nothing about it.
            self.error = None
            try:
                text = to_json(result[0])
            except BaseException as error:
                self.error = error
        if text is None:
            return None, self.explain(self.error)
        # Characters are never more than bytes; only a text near the limit is measured.
        return text, None if len(text) * 4 <= self.result_bytes else self.oversized(text)

    def returned(self):
        """What `main` gave, in a list; empty if it did not come to that."""
        if self.later is not None:
            return self.later
        if self.error is not None and self.result and isinstance(self.result[0], CoroutineType):
            # It was not begun.
            return []
        return self.result

    def deafen(self):
        """Between calls the threads that are left have no signal to interrupt the host by."""
        self.deaf = [
            number for number, handler in self.fitness.handlers.items() if callable(handler)
        ]
        for number in self.deaf:
            set_handler(number, IGNORED)

    def hear(self):
        for number in self.deaf:
            set_handler(number, self.fitness.handlers[number])
        self.deaf = []

    def state(self):
        """What the server has to know about the worker before its next call; mostly nothing."""
        reason, left = self.fitness.look(), thread_count()
        large = ',"large":true' if self.fitness.large else ""
        if left:
            self.deafen()
        if reason:
            return ',"unfit":' + encode(reason) + large
        return ',"left":true' + large if left else large

    def invoke(self, call):
        """Calls `main`, and keeps what it returns in one step with returning it."""
        context, user = call["fn"], call["user"]
        self.export(context["execution_id"], user)
        self.platform.app_slug = context["app_slug"]
        params = call["params"]
        if isinstance(params, dict):
            params["__function__"] = context
        run = self.fitness.variables.copy().run
        called = (self.main, params, user, self.client)[: self.arity + 1]
        self.result.extend(starmap(run, (called,)))
        if isinstance(self.result[0], CoroutineType):
            self.later = []
            self.later.extend(map(run, (asyncio.run,), self.result))

    def export(self, execution_id, user):
        """Sets the environment variables that differ from call to call."""
        fitness = self.fitness
        environ, known = fitness.os_environ._data, fitness.environ
        self.execution.put(execution_id, environ, known)
        who = (user.get("id"), user.get("email")) if user else NOBODY
        if who != self.who:
            # An exception may come in between: then nobody's are known to be there.
            self.who = None
            for variable, value in zip(self.of_user, who):
                variable.put("" if value is None else str(value), environ, known)
            self.who = who

    def oversized(self, text):
        size = len(text.encode("utf-8", "replace"))
        if size <= self.result_bytes:
            return None
        return failure_of(
            "limit", f"The result is {size} bytes of JSON; the limit is {self.result_bytes}."
        )

    # Failures

    def explain(self, error, kind="exception"):
        """The failure that an exception is. The function has a say in most of what an exception is
        asked for, and none in whether there is an answer."""
        try:
            return self.explain_fully(error, kind)
        except BaseException:
            return failure_of(kind, plain_title(error), self.plain_trace(error))

    def explain_fully(self, error, kind):
        if isinstance(error, OutputLimit):
            return None
        if self.logs.is_full() and is_refused(error):
            # Code outside of Python had no room for more.
            self.logs.exceeded = f"more than {amount(self.logs.max_bytes)} of logs"
            return None
        limit = no_room(error, self.limits)
        if limit:
            bare = kind == "load" or isinstance(error, MemoryError)
            trace = None if bare else self.trace(error)
            traceback.clear_frames(TRACEBACK(error))
            return failure_of("limit", limit, trace)
        if isinstance(error, NotJson):
            return failure_of("not_json", f"The result is not JSON: {error}.")
        if kind == "load" and isinstance(error, SyntaxError) and self.is_own(error.filename):
            message = describe_syntax(error)
            if error.filename != self.filename:
                message = f"{self.shown(error.filename)}: {message}"
            return failure_of(kind, message, self.trace(error))
        return failure_of(kind, self.title(error), self.trace(error))

    def title(self, error):
        """`ValueError: text`."""
        name = type(error).__name__
        try:
            # The text may be of a kind of its own.
            text = str.__str__(str(error))
            if type(error) is NameError:
                text += hint_for(text)
        except BaseException:
            text = "<no text: str() failed>"
        return (f"{name}: {text}" if text else name)[: self.error_bytes]

    def trace(self, error):
        """The traceback with the author's frames only; empty if there are none."""
        try:
            report = traceback.TracebackException.from_exception(error)
            if self.keep_own(report) or isinstance(error, SyntaxError):
                return "".join(report.format())[-self.error_bytes :]
            return ""
        except BaseException:
            return self.plain_trace(error)

    def keep_own(self, report):
        """Leaves out the frames of others. How many there are of the author's."""
        count, seen, waiting = 0, set(), [report]
        while waiting:
            report = waiting.pop()
            if report is None or id(report) in seen:
                continue
            seen.add(id(report))
            own = [frame for frame in report.stack if self.is_own(frame.filename)]
            if self.root is not None:
                self.rename(report, own)
            report.stack = traceback.StackSummary.from_list(own)
            count += len(own)
            waiting += [report.__cause__, report.__context__]
            waiting += getattr(report, "exceptions", None) or ()
        return count

    def rename(self, report, frames):
        """Calls the author's files what the author calls them."""
        for frame in frames:
            # Read by the name that it has until now.
            _ = frame.line
            frame.filename = self.shown(frame.filename)
        if self.is_own(getattr(report, "filename", None)):
            report.filename = self.shown(report.filename)

    def plain_trace(self, error):
        """The same where an exception does not let itself be written: its own frames alone."""
        frames, place = [], TRACEBACK(error)
        while place is not None:
            code = place.tb_frame.f_code
            if self.is_own(code.co_filename):
                frames.append((self.shown(code.co_filename), place.tb_lineno, code.co_name, None))
            place = place.tb_next
        if not frames:
            return ""
        lines = traceback.format_list(traceback.StackSummary.from_list(frames))
        text = "".join(["Traceback (most recent call last):\n", *lines, plain_title(error), "\n"])
        return text[-self.error_bytes :]


def plain_title(error):
    """The name of an exception's type, as nothing but Python has it."""
    return type.__dict__["__name__"].__get__(type(error))


def fault_of(main, name):
    """How many positional arguments `main` is given, and what is wrong with its parameters."""
    if type(main) is types.FunctionType and not hasattr(main, "__wrapped__"):
        # The plain case, without the cost of a signature.
        code = main.__code__
        any_number = bool(code.co_flags & inspect.CO_VARARGS)
        positional = code.co_argcount
        needed = positional - len(main.__defaults__ or ())
        given = main.__kwdefaults__ or ()
        names = code.co_varnames[positional : positional + code.co_kwonlyargcount]
        named = [argument for argument in names if argument not in given]
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
    return count, fault_of_counts(name, positional, needed, any_number, named)
