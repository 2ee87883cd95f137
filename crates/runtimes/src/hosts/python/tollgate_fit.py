"""Whether a worker is fit for the next call: what a call left behind is put right, or the worker says
that it must go.

The look must cost almost nothing when nothing was left. Python's own ways to change a process note
that they were used (`tollgate_noted`); what has no such way is asked for.
"""

import asyncio.events as loop_events
import atexit
import builtins
import codecs
import contextvars
import decimal
import faulthandler
import functools
import gc
import locale
import operator
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import _tracemalloc
from _signal import getsignal as get_handler
from _signal import setitimer
from _thread import _count as thread_count
from decimal import getcontext as get_context
from faulthandler import cancel_dump_traceback_later as cancel_dump
from os import fstat
from time import monotonic

from tollgate_frames import Channel
from tollgate_glance import DECIMAL_SIZES, Glance
from tollgate_loggers import Loggers
from tollgate_noted import noted, put_variable, unset_variable
from tollgate_scratch import Scratch
from tollgate_threads import Threads

# A thorough look at least this often.
LOOK_EVERY = 16
# And not more often than this: many short calls in a row would spend much of their time on it.
LOOK_SECONDS = 0.25
# And not before so many times has passed what the last one took: on a slow or busy machine it takes longer,
# and each worker looks for itself.
LOOK_PART = 400
# How often it asks for its largest size: a whole number of times between two thorough looks.
MEMORY_EVERY = 4
# What a worker may hold on to beyond what it had after loading.
DESCRIPTORS_KEPT = 16
EXIT_HANDLERS_KEPT = 64
# Ways to find or answer modules: what was imported may have added some, and needs them.
FINDERS_KEPT = 16
# The next descriptors that are free: whoever leaves one open takes the lowest.
CANARIES = 2
DESCRIPTORS_ASKED = 1024
SIGNALS = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
RLIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
NO_LIMIT = resource.RLIM_INFINITY
CODEC_ERRORS = (
    "strict", "ignore", "replace", "backslashreplace", "xmlcharrefreplace", "namereplace",
    "surrogateescape", "surrogatepass",
)  # fmt: skip
SYS_NAMES = (
    "stdout", "stderr", "stdin", "excepthook", "unraisablehook", "__stdout__", "__stderr__",
    "__stdin__", "displayhook", "breakpointhook", "path", "argv", "meta_path", "path_hooks",
)  # fmt: skip
of_sys = operator.attrgetter(*SYS_NAMES)
set_trace, set_profile = sys.settrace, sys.setprofile
set_recursion = sys.setrecursionlimit


class Fitness:
    """What the worker was like after loading, and how it compares."""

    def __init__(self, logs, streams, memory_mb):
        self.channel = logs.channel if logs else Channel.nobody()
        self.threads = Threads(logs, self.channel)
        self.streams = streams
        self.memory_bytes = memory_mb << 20
        # Only where each worker has a folder of its own; elsewhere others write there too.
        home = os.environ.get("HOME")
        self.scratch = Scratch(home) if home else None
        self.poll = select.poll()
        self.ask_canaries = self.poll.poll
        self.canaries = []
        self.calls = 0
        self.next_look = 0.0
        self.large = False
        # Those that each call finds set to something else.
        self.variables_of_calls = []
        # Whether code of the function may have run after the logs of its call ended, or may yet.
        self.disturbed = True

    @classmethod
    def rehearse(cls):
        """Does what `remember` does, for the sake of the memory that it writes to."""
        trial = cls(None, None, 0)
        trial.remember()
        trial.look()
        if trial.scratch is not None:
            trial.scratch.close()

    # After loading

    def remember(self):
        """What there is now is as it should be."""
        self.settle()
        self.environ = dict(os.environ._data)
        self.os_environ = os.environ
        self.builtins = dict(builtins.__dict__)
        self.remember_sys()
        self.remember_python()
        self.remember_process()
        self.loggers = Loggers()
        self.exits = exit_handlers()
        self.threads.remember()
        if self.scratch is not None:
            self.scratch.remember()
        self.remember_descriptors()
        noted.variables.clear()
        noted.dumping.clear()
        noted.lasting = None
        noted.changed = False
        self.glance = Glance(self)

    def remember_sys(self):
        self.sys = of_sys(sys)
        self.path, self.argv = list(sys.path), list(sys.argv)
        self.finders, self.hooks = list(sys.meta_path), list(sys.path_hooks)
        self.trace, self.profile = sys.gettrace(), sys.getprofile()
        self.recursion = sys.getrecursionlimit()
        self.switch = sys.getswitchinterval()
        self.digits = getattr(sys, "get_int_max_str_digits", int)()
        self.asyncgens = sys.get_asyncgen_hooks()
        self.origins = sys.get_coroutine_origin_tracking_depth()
        self.tools = tools()

    def remember_python(self):
        self.locale = locale.setlocale(locale.LC_ALL)
        self.thresholds = gc.get_threshold()
        self.collects, self.gc_debug = gc.isenabled(), gc.get_debug()
        self.gc_callbacks = list(gc.callbacks)
        self.traces = _tracemalloc.is_tracing()
        self.faults = faulthandler.is_enabled()
        self.timeout = socket.getdefaulttimeout()
        self.codec_errors = {name: codecs.lookup_error(name) for name in CODEC_ERRORS}
        self.context = get_context()
        self.decimals = self.context.copy()
        self.excepthook = threading.excepthook
        self.thread_hooks = thread_hooks()
        self.stack = threading.stack_size()
        self.policy = loop_events._event_loop_policy
        self.loops = dict(loops_of(self.policy))
        # Where loading set a policy its loops are put back after each call.
        self.no_policy = None if self.policy is None else self
        # Each call gets a copy, so that what it sets is gone with it.
        self.variables = contextvars.copy_context()

    def remember_process(self):
        self.folder = os.getcwd()
        self.umask = os.umask(0)
        os.umask(self.umask)
        self.handlers = {number: get_handler(number) for number in SIGNALS}
        # Python's own handler for SIGINT prints nothing.
        self.hears = any(
            callable(handler) and handler is not signal.default_int_handler
            for handler in self.handlers.values()
        )
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(self.wakeup)
        self.rlimits = {what: limit for what in RLIMITS for limit in limit_of(what)}

    def remember_descriptors(self):
        most = self.rlimits[resource.RLIMIT_NOFILE][0]
        self.asked = DESCRIPTORS_ASKED if most == NO_LIMIT else min(most, DESCRIPTORS_ASKED)
        self.every = ask_for(self.asked)
        self.open = self.open_descriptors()
        self.seen = self.open
        self.set_canaries()

    def set_canaries(self):
        for number in self.canaries:
            self.poll.unregister(number)
        # The standard streams stand with them: only of those that are closed there is news.
        for number in range(3):
            self.poll.register(number, 0)
        free = [number for number in range(self.asked) if number not in self.seen]
        self.canaries = free[:CANARIES]
        for number in self.canaries:
            self.poll.register(number, 0)

    def open_descriptors(self):
        free = {number for number, event in self.every.poll(0) if event & select.POLLNVAL}
        return {number for number in range(self.asked) if number not in free}

    # After a call

    def settle(self):
        """Right after code of the function ran: ends what would come in between from here on."""
        if noted.changed:
            cancel_dump()
            for timer in TIMERS:
                setitimer(timer, 0)

    def restore_host(self):
        """What the host, and Python's library, do the rest with; needed where something was changed."""
        set_trace(None)
        set_profile(None)
        set_recursion(self.recursion)
        self.put_back_builtins()
        self.put_back_codecs()

    def look(self):
        """Why the worker must serve no other call; None if it may. That it cannot be looked at is a
        reason too."""
        self.calls += 1
        self.disturbed = True
        try:
            due = not self.calls % MEMORY_EVERY and self.is_time()
            if noted.changed or due or self.glance.differs():
                return self.thorough()
            return self.quick()
        except Exception as error:
            return f"it could not be looked at: {type(error).__name__}: {error}"

    def is_time(self):
        """Whether a thorough look is due. It takes as long as many calls, so the clock has a say too."""
        self.measure()
        if self.calls % LOOK_EVERY:
            return False
        return monotonic() >= self.next_look

    def quick(self):
        """Looks for what else is left; mostly nothing is."""
        if not (
            thread_count()
            or self.channel.left
            or len(self.ask_canaries(0)) != CANARIES
            or loop_events._event_loop_policy is not self.no_policy
            or (self.scratch is not None and self.scratch.differs())
        ):
            self.disturbed = self.hears
            return None
        self.put_back_loops()
        reason = self.threads.left()
        if len(self.ask_canaries(0)) != CANARIES:
            reason = reason or self.descriptors_left()
        if self.scratch is not None and self.scratch.differs():
            reason = reason or self.scratch.left(self.held())
        return reason

    def thorough(self):
        """Puts right what can be; what cannot is the answer."""
        noted.looks += 1
        began = monotonic()
        self.put_back_sys()
        self.put_back_python()
        self.put_back_environ()
        self.put_back_loops()
        self.loggers.put_back()
        reason = self.put_back_process() or noted.lasting or self.threads.left()
        reason = reason or self.descriptors_left()
        if self.scratch is not None:
            reason = reason or self.scratch.left(self.held())
        reason = reason or self.others_left()
        self.glance = Glance(self)
        noted.changed = False
        ended = monotonic()
        self.next_look = ended + max(LOOK_SECONDS, (ended - began) * LOOK_PART)
        return reason

    def put_back_sys(self):
        for name, value in zip(SYS_NAMES, self.sys):
            if getattr(sys, name, None) is not value:
                setattr(sys, name, value)
        if self.streams is not None and self.streams.put_back():
            self.sys = of_sys(sys)
        sys.path[:], sys.argv[:] = self.path, self.argv
        self.finders = with_those(sys.meta_path, self.finders)
        self.hooks = with_those(sys.path_hooks, self.hooks)
        sys.settrace(self.trace)
        sys.setprofile(self.profile)
        sys.setrecursionlimit(self.recursion)
        sys.setswitchinterval(self.switch)
        getattr(sys, "set_int_max_str_digits", int)(self.digits)
        sys.set_asyncgen_hooks(*self.asyncgens)
        sys.set_coroutine_origin_tracking_depth(self.origins)
        for tool in tools() - self.tools:
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.free_tool_id(tool)

    def put_back_python(self):
        self.put_back_builtins()
        self.put_back_codecs()
        for module_set, hook in zip((threading.settrace, threading.setprofile), self.thread_hooks):
            module_set(hook)
        threading.excepthook = self.excepthook
        threading.stack_size(self.stack)
        gc.set_threshold(*self.thresholds)
        gc.set_debug(self.gc_debug)
        (gc.enable if self.collects else gc.disable)()
        gc.callbacks[:] = self.gc_callbacks
        if _tracemalloc.is_tracing() and not self.traces:
            _tracemalloc.stop()
        for number in noted.dumping:
            faulthandler.unregister(number)
        noted.dumping.clear()
        if faulthandler.is_enabled() != self.faults:
            (faulthandler.enable if self.faults else faulthandler.disable)()
        socket.setdefaulttimeout(self.timeout)
        for name in DECIMAL_SIZES:
            setattr(self.context, name, getattr(self.decimals, name))
        self.context.traps, self.context.flags = self.decimals.traps, self.decimals.flags
        decimal.setcontext(self.context)
        if locale.setlocale(locale.LC_ALL) != self.locale:
            locale.setlocale(locale.LC_ALL, self.locale)

    def put_back_environ(self):
        os.environ = self.os_environ
        data = os.environ._data
        names = {name for name in {*data, *self.environ} if data.get(name) != self.environ.get(name)}
        names |= noted.variables
        for name in names:
            value = self.environ.get(name)
            if value is None:
                data.pop(name, None)
                unset_variable(name)
            else:
                data[name] = value
                put_variable(name, value)
        # Also where the function went below Python.
        for variable in self.variables_of_calls:
            variable.placed = False
        noted.variables.clear()
        if b"TZ" in names:
            time.tzset()

    def put_back_builtins(self):
        names = builtins.__dict__
        if names != self.builtins:
            for name in [name for name in names if name not in self.builtins]:
                del names[name]
            names.update(self.builtins)

    def put_back_codecs(self):
        for name, handler in self.codec_errors.items():
            if codecs.lookup_error(name) is not handler:
                codecs.register_error(name, handler)

    def put_back_loops(self):
        """`asyncio` as a fresh process has it: with no loop that an earlier call closed."""
        loop_events._event_loop_policy = self.policy
        loops = loops_of(self.policy)
        if loops != self.loops:
            loops.clear()
            loops.update(self.loops)

    def put_back_process(self):
        try:
            here = os.getcwd()
        except OSError:
            here = None
        if here != self.folder:
            try:
                os.chdir(self.folder)
            except OSError:
                return "its working directory is gone"
        os.umask(self.umask)
        for number, handler in self.handlers.items():
            if get_handler(number) is not handler and handler is not None:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        signal.set_wakeup_fd(self.wakeup)
        for what, before in self.rlimits.items():
            if resource.getrlimit(what) != before:
                try:
                    resource.setrlimit(what, before)
                except (OSError, ValueError):
                    return "it lowered a resource limit for good"
        return None

    def descriptors_left(self):
        if self.streams is not None:
            self.streams.reopen()
        now = self.open_descriptors()
        if now != self.seen and now - self.open:
            gc.collect()
            now = self.open_descriptors()
        missing = self.open - now
        if missing:
            return "it closed descriptors that it needs"
        if len(now - self.open) > DESCRIPTORS_KEPT:
            return f"it left {len(now - self.open)} descriptors open"
        if now != self.seen:
            self.seen = now
            self.set_canaries()
        return None

    def held(self):
        """The files that calls left open."""
        found = set()
        for number in self.seen - self.open:
            try:
                status = fstat(number)
            except OSError:
                continue
            found.add((status.st_dev, status.st_ino))
        return found

    def others_left(self):
        if exit_handlers() > self.exits + EXIT_HANDLERS_KEPT:
            return "it registers functions to run at its exit, without end"
        if max(len(self.finders), len(self.hooks)) > FINDERS_KEPT:
            return "it adds ways to find modules, without end"
        return None

    def measure(self):
        """Whether the server should look at the worker's memory from now on: at its peak it was much."""
        if not self.large:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            self.large = peak * 2 > self.memory_bytes


def with_those(now, before):
    """Puts those of before back into a list, in their order. Gives the list as it is then."""
    places = [place for place, one in enumerate(now) if one in before]
    first = places[0] if places else len(now)
    added = [one for one in now[first:] if one not in before]
    now[:] = [*now[:first], *before, *added]
    return list(now)


def limit_of(what):
    """The limit, if there is such a one here."""
    try:
        return [resource.getrlimit(what)]
    except (OSError, ValueError):
        return []


def exit_handlers():
    return getattr(atexit, "_ncallbacks", int)()


def thread_hooks():
    """What new threads are traced and profiled with."""
    return threading._trace_hook, threading._profile_hook


def tools():
    """Debuggers and profilers in use, where Python counts them."""
    monitoring = getattr(sys, "monitoring", None)
    return {tool for tool in range(6) if monitoring and monitoring.get_tool(tool)}


def loops_of(policy):
    """What an event loop policy knows of this thread."""
    return getattr(getattr(policy, "_local", None), "__dict__", {})


@functools.lru_cache(maxsize=None)
def ask_for(count):
    """What asks for so many descriptors at once. Made by the host before it forks."""
    asking = select.poll()
    for number in range(count):
        asking.register(number, 0)
    return asking
