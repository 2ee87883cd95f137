"""Whether a worker is fit for the next call: what a call left behind is put right, or the worker says
that it must go.

The look must cost almost nothing when nothing was left. Python's own ways to change a process are
led through functions that note it (`lead`); what has no such way is asked for. Code that goes round
both is met by the thorough look that every few calls get, and by what the server sees from outside.
"""

import atexit
import builtins
import decimal
import errno
import functools
import gc
import locale
import logging
import os
import resource
import select
import shutil
import signal
import socket
import sys
import threading
import time
import types
import warnings
from _thread import _count as thread_count
from time import monotonic

from tollgate_frames import Channel

# A thorough look at least this often.
LOOK_EVERY = 16
# How often it asks for its largest size.
MEMORY_EVERY = 4
# What a worker may hold on to beyond what it had after loading.
DESCRIPTORS_KEPT = 16
THREADS_KEPT = 16
# The part of the scratch folder that may be in use before a call: by what loading left there and
# calls made larger.
SCRATCH_PART = 2
SCRATCH_BYTES = 64 << 20
EXIT_HANDLERS_KEPT = 64
# How long a thread that still runs is given to end.
ENDING_SECONDS = 0.005
# The next descriptors that are free: whoever leaves one open takes the lowest.
CANARIES = 2
DESCRIPTORS_ASKED = 1024
SIGNALS = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
RLIMITS = [
    getattr(resource, name)
    for name in ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
]  # fmt: skip
NO_LIMIT = resource.RLIM_INFINITY


class Noted:
    """Whether anything was called that changes the process."""

    changed = False


noted = Noted()


def noting(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        noted.changed = True
        return function(*args, **kwargs)

    return call


Environ = type(os.environ)
# How the host sets a variable: without noting it.
set_variable = Environ.__setitem__


class WatchedModule(types.ModuleType):
    """A module that notes when it is changed."""

    def __setattr__(self, name, value):
        noted.changed = True
        super().__setattr__(name, value)

    def __delattr__(self, name):
        noted.changed = True
        super().__delattr__(name)


def lead():
    """Makes Python's functions that change a process note it. Once, before any function is loaded."""
    for module, names in (
        (os, "chdir fchdir umask putenv unsetenv closerange dup2"),
        (signal, "signal alarm setitimer pthread_sigmask set_wakeup_fd siginterrupt"),
        (resource, "setrlimit prlimit"),
        (sys, "setrecursionlimit setprofile setswitchinterval settrace"),
        (gc, "disable enable freeze set_debug set_threshold"),
        (socket, "setdefaulttimeout"),
        (threading, "stack_size"),
        (locale, "setlocale"),
        (logging, "disable"),
        (decimal, "setcontext"),
    ):
        for name in names.split():
            if hasattr(module, name):
                setattr(module, name, noting(getattr(module, name)))
    for name in ("__setitem__", "__delitem__"):
        setattr(Environ, name, noting(getattr(Environ, name)))
    builtins.__class__ = WatchedModule
    ask_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class Fitness:
    """What the worker was like after loading, and how it compares."""

    def __init__(self, logs, streams, memory_mb):
        self.logs = logs
        self.channel = logs.channel if logs else Channel.nobody
        self.streams = streams
        self.memory_bytes = memory_mb << 20
        # Only where each worker has a folder of its own; elsewhere others write there too.
        self.home = os.environ.get("HOME")
        self.scratch = None
        if self.home:
            self.scratch = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.own_scratch = self.scratch is not None and is_own(os.fstatvfs(self.scratch))
        self.main_thread = threading.get_ident()
        self.poll = select.poll()
        self.canaries = []
        self.calls = 0
        self.was_large = False

    @classmethod
    def rehearse(cls):
        """Does what `remember` does, for the sake of the memory that it writes to."""
        trial = cls(None, None, 0)
        trial.remember()
        trial.look()
        if trial.scratch is not None:
            os.close(trial.scratch)

    # After loading

    def remember(self):
        """What there is now is as it should be."""
        self.environ = dict(os.environ._data)
        self.os_environ = os.environ
        self.builtins = dict(builtins.__dict__)
        self.sys = {name: getattr(sys, name) for name in SYS_NAMES}
        self.locale = locale.setlocale(locale.LC_ALL)
        self.folder = os.getcwd()
        self.umask = os.umask(0)
        os.umask(self.umask)
        self.handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(self.wakeup)
        self.rlimits = {what: resource.getrlimit(what) for what in RLIMITS}
        self.trace, self.profile = sys.gettrace(), sys.getprofile()
        self.recursion = sys.getrecursionlimit()
        self.switch = sys.getswitchinterval()
        self.thresholds = gc.get_threshold()
        self.collects = gc.isenabled()
        self.timeout = socket.getdefaulttimeout()
        self.context = decimal.getcontext()
        self.decimals = self.context.copy()
        self.excepthook = threading.excepthook
        self.stack = threading.stack_size()
        self.warned = list(warnings.filters)
        self.exits = exit_handlers()
        self.remember_logging()
        self.threads = {thread.native_id for thread in threading.enumerate()}
        self.remember_descriptors()
        self.entries = set(self.listed())
        self.stamp = self.folder_stamp()
        noted.changed = False

    def remember_logging(self):
        root = logging.root
        self.root_handlers, self.root_level = list(root.handlers), root.level
        self.root_filters, self.disabled = list(root.filters), root.manager.disable
        self.known_handlers = len(logging._handlerList)
        self.handlers_of = {
            name: list(logger.handlers)
            for name, logger in root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger) and logger.handlers
        }

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
        free = [number for number in range(self.asked) if number not in self.seen]
        self.canaries = free[:CANARIES]
        for number in self.canaries:
            self.poll.register(number, 0)

    def open_descriptors(self):
        free = {number for number, event in self.every.poll(0) if event & select.POLLNVAL}
        return {number for number in range(self.asked) if number not in free}

    # After a call

    def look(self):
        """Why the worker must serve no other call; None if it may."""
        self.calls += 1
        root = logging.root
        context = decimal.getcontext()
        if (
            noted.changed
            or sys.stdout is not self.sys["stdout"]
            or sys.stderr is not self.sys["stderr"]
            or sys.stdin is not self.sys["stdin"]
            or os.environ is not self.os_environ
            or len(logging._handlerList) != self.known_handlers
            or root.handlers != self.root_handlers
            or root.level != self.root_level
            or warnings.filters != self.warned
            or context is not self.context
            or context.prec != self.decimals.prec
            or not self.calls % LOOK_EVERY
        ):
            return self.guarded(self.thorough)
        reason = None
        if thread_count() or self.channel.left:
            reason = self.guarded(self.threads_left)
        if len(self.poll.poll(0)) != CANARIES:
            reason = reason or self.guarded(self.descriptors_left)
        if self.folder_stamp() != self.stamp:
            reason = reason or self.guarded(self.scratch_left)
        return reason

    def guarded(self, look):
        """What a look finds; that it fails is a finding too."""
        try:
            return look()
        except Exception as error:
            return f"it could not be looked at: {type(error).__name__}: {error}"

    def folder_stamp(self):
        """Differs when something was written to the scratch folder. A file system of its own tells
        that cheapest, and of every file."""
        if self.scratch is None:
            return None
        if self.own_scratch:
            space = os.fstatvfs(self.scratch)
            return space.f_bfree, space.f_ffree
        status = os.fstat(self.scratch)
        return status.st_mtime_ns, status.st_size

    def thorough(self):
        """Puts right what can be; what cannot is the answer."""
        self.put_back_python()
        reason = self.put_back_process() or self.threads_left()
        reason = reason or self.descriptors_left() or self.scratch_left() or self.others_left()
        noted.changed = False
        return reason

    def put_back_python(self):
        if os.environ is not self.os_environ:
            os.environ = self.os_environ
        self.put_back_environ()
        self.put_back_builtins()
        for name, value in self.sys.items():
            if getattr(sys, name, None) is not value:
                setattr(sys, name, value)
        self.streams.put_back(self.sys)
        sys.settrace(self.trace)
        sys.setprofile(self.profile)
        threading.settrace(None)
        threading.setprofile(None)
        threading.excepthook = self.excepthook
        sys.setrecursionlimit(self.recursion)
        sys.setswitchinterval(self.switch)
        gc.set_threshold(*self.thresholds)
        (gc.enable if self.collects else gc.disable)()
        socket.setdefaulttimeout(self.timeout)
        threading.stack_size(self.stack)
        self.context = self.decimals.copy()
        decimal.setcontext(self.context)
        warnings.filters[:] = self.warned
        self.put_back_logging()
        if locale.setlocale(locale.LC_ALL) != self.locale:
            locale.setlocale(locale.LC_ALL, self.locale)

    def put_back_environ(self):
        data = os.environ._data
        if data == self.environ:
            return
        zone = data.get(b"TZ") != self.environ.get(b"TZ")
        for name in [name for name in data if name not in self.environ]:
            del os.environ[os.fsdecode(name)]
        for name, value in self.environ.items():
            if data.get(name) != value:
                os.environ[os.fsdecode(name)] = os.fsdecode(value)
        if zone:
            time.tzset()

    def put_back_builtins(self):
        names = builtins.__dict__
        if names != self.builtins:
            for name in [name for name in names if name not in self.builtins]:
                del names[name]
            names.update(self.builtins)

    def put_back_logging(self):
        root = logging.root
        root.handlers[:] = self.root_handlers
        root.filters[:] = self.root_filters
        root.setLevel(self.root_level)
        logging.disable(self.disabled)
        if len(logging._handlerList) != self.known_handlers:
            for name, logger in root.manager.loggerDict.items():
                if isinstance(logger, logging.Logger):
                    logger.handlers[:] = self.handlers_of.get(name, ())
            self.known_handlers = len(logging._handlerList)

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
        for timer in TIMERS:
            signal.setitimer(timer, 0)
        for number, handler in self.handlers.items():
            if signal.getsignal(number) is not handler and handler is not None:
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

    def threads_left(self):
        """Threads that wait for work or for a time may stay: they get no time until the next call.
        One that runs would disturb it."""
        self.channel.left = set()
        if not thread_count():
            return None
        frames = sys._current_frames()
        threads = [thread for thread in threading.enumerate() if thread.ident != self.main_thread]
        new = [thread for thread in threads if thread.native_id not in self.threads]
        states = {thread: state_of(frames.get(thread.ident)) for thread in threads}
        self.channel.left = {
            thread.native_id for thread in threads if states[thread] is not AT_REST
        }
        at_work = [thread for thread in new if states[thread] is AT_WORK]
        if at_work and self.one_ends(at_work):
            return self.threads_left()
        # Those that were started below `threading` are in no list.
        unknown = max(0, thread_count() - len(threads))
        count = len(at_work) + unknown
        if count:
            self.logs.note(
                f"main returned while {many(count, 'thread')} still ran: the worker was ended, and "
                "the next call waits for a new one. Join the threads that you start."
            )
            return f"it left {many(count, 'thread')} running"
        if len(new) > THREADS_KEPT:
            return f"it left {len(new)} threads"
        return None

    def one_ends(self, threads):
        """Whether one of these was just about to end."""
        until = monotonic() + ENDING_SECONDS
        while monotonic() < until:
            for thread in threads:
                thread.join(ENDING_SECONDS / 10)
                if not thread.is_alive():
                    return True
        return False

    def descriptors_left(self):
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

    def listed(self):
        if self.scratch is None:
            return ()
        try:
            return os.listdir(self.scratch)
        except OSError:
            return ()

    def scratch_left(self):
        """Removes what was made in the scratch folder, except what is open still."""
        if self.scratch is None:
            return None
        if self.folder_stamp() != self.stamp:
            new = [name for name in self.listed() if name not in self.entries]
            held = self.held() if new else ()
            for name in new:
                self.remove(name, held)
            self.stamp = self.folder_stamp()
        if self.own_scratch:
            space = os.fstatvfs(self.scratch)
            if (space.f_blocks - space.f_bfree) * SCRATCH_PART > space.f_blocks:
                return "its scratch folder is more than half full"
            if (space.f_files - space.f_ffree) * SCRATCH_PART > space.f_files:
                return "its scratch folder holds too many files"
        return None

    def held(self):
        found = set()
        for number in self.seen - self.open:
            try:
                status = os.fstat(number)
            except OSError:
                continue
            found.add((status.st_dev, status.st_ino))
        return found

    def remove(self, name, held):
        try:
            status = os.lstat(name, dir_fd=self.scratch)
            if (status.st_dev, status.st_ino) in held:
                return
            if status.st_mode & 0o170000 == 0o040000:
                remove_tree(os.path.join(self.home, name), held)
            else:
                os.unlink(name, dir_fd=self.scratch)
        except OSError:
            # What cannot be removed still counts.
            return

    def others_left(self):
        if exit_handlers() > self.exits + EXIT_HANDLERS_KEPT:
            return "it registers functions to run at its exit, without end"
        return None

    def is_large(self):
        """Whether the server should look at the worker's memory now: at its peak it was much."""
        if not self.was_large and not self.calls % MEMORY_EVERY:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            self.was_large = peak * 2 > self.memory_bytes
        return self.was_large


SYS_NAMES = (
    "stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__",
    "excepthook", "displayhook", "unraisablehook",
)  # fmt: skip


def remove_tree(path, held):
    """Removes a folder, except what is held open in it."""
    if not held:
        shutil.rmtree(path, ignore_errors=True)
        return
    for folder, names, files in os.walk(path, topdown=False):
        for name in files + names:
            inner = os.path.join(folder, name)
            try:
                status = os.lstat(inner)
                if (status.st_dev, status.st_ino) in held:
                    continue
                (os.rmdir if status.st_mode & 0o170000 == 0o040000 else os.unlink)(inner)
            except OSError:
                continue
    try:
        os.rmdir(path)
    except OSError:
        return


def is_own(space):
    """Whether a file system of this size is one worker's own."""
    return 0 < space.f_blocks * space.f_frsize <= SCRATCH_BYTES


def exit_handlers():
    return getattr(atexit, "_ncallbacks", int)()


# Where a thread is.
AT_REST = "waits for work that a later call may give it"
ASLEEP = "waits for a time, or for the answer to its request"
AT_WORK = "runs"


def state_of(frame):
    """What a thread does, by the innermost function of Python that it is in."""
    if frame is None:
        return AT_WORK
    place = (frame.f_globals.get("__name__"), frame.f_code.co_name)
    if place == ("concurrent.futures.thread", "_worker"):
        return AT_REST
    if place[0] == "threading" and place[1] in ("wait", "join", "_wait_for_tstate_lock"):
        return AT_REST if frame.f_locals.get("timeout") is None else ASLEEP
    if place[0] == "selectors" and place[1] == "select":
        given = frame.f_locals.get("timeout")
        return AT_REST if given is None or given == -1 else ASLEEP
    if place[0] == "tollgate_frames":
        return ASLEEP
    return AT_WORK


@functools.lru_cache(maxsize=None)
def ask_for(count):
    """What asks for so many descriptors at once. Made by the host before it forks."""
    asking = select.poll()
    for number in range(count):
        asking.register(number, 0)
    return asking


def many(count, what):
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


# Errors that say that there is no more room.


def no_room(error, limits):
    """The limit that an exception speaks of, in words; None if of none. What it came from counts."""
    seen, waiting = set(), [error]
    while waiting and len(seen) < 64:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        found = of_one(error, limits)
        if found:
            return found
        waiting += [error.__context__, error.__cause__, *(getattr(error, "exceptions", None) or ())]
    return None


def of_one(error, limits):
    if isinstance(error, MemoryError):
        return f"The function needed more than its {limits['memory_mb']} MiB of memory."
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return f"No thread could be started: a worker may have {limits['threads']} in all."
    if not isinstance(error, OSError):
        return None
    number = error.errno
    if number == errno.ENOMEM:
        return f"The function needed more than its {limits['memory_mb']} MiB of memory."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"The scratch folder is full: it holds {limits['scratch_bytes'] >> 20} MiB and {limits['scratch_files']} files."
    if number in (errno.EMFILE, errno.ENFILE):
        return f"The function has too many files open: a worker may have {limits['open_files']}."
    if number == errno.EFBIG:
        return f"A file grew larger than the limit of {limits['file_bytes'] >> 20} MiB."
    if number == errno.EAGAIN:
        return f"There was no more of something that the function needed ({error.strerror}); a worker may have {limits['threads']} threads."
    return None
