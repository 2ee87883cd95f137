"""Python's own ways to change a process note that they were used.

So the look after a call that used none of them can be short. None of this is a wall: what goes round
it is met by the thorough look that every few calls get, and by what the server sees from outside.
"""

import asyncio
import builtins
import codecs
import decimal
import faulthandler
import functools
import gc
import locale
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
import types
import _tracemalloc

from tollgate_imports import when_imported


class Noted:
    """What was called that changes the process."""

    changed = False
    # Environment variables that were set or unset, below `os.environ` too.
    variables = set()
    # Signals that `faulthandler` was told to answer.
    dumping = set()
    # Whether anybody was given decimal's context, and may set it at any time.
    decimals = False
    # What nothing can undo.
    lasting = None
    # How many thorough looks there were.
    looks = 0


noted = Noted()


def noting(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        noted.changed = True
        return function(*args, **kwargs)

    return call


def noting_variable(function):
    """For what is called with the name of a variable."""

    @functools.wraps(function)
    def call(name, *value):
        noted.changed = True
        outcome = function(name, *value)
        noted.variables.add(os.fsencode(name))
        return outcome

    return call


def noting_decimals(function):
    @functools.wraps(function)
    def call():
        noted.decimals = True
        return function()

    return call


def noting_hook(function):
    @functools.wraps(function)
    def call(*args):
        noted.changed = True
        noted.lasting = "it added an audit hook"
        return function(*args)

    return call


def noting_dump(function):
    @functools.wraps(function)
    def call(signum, *args, **kwargs):
        noted.changed = True
        noted.dumping.add(signum)
        return function(signum, *args, **kwargs)

    return call


class WatchedModule(types.ModuleType):
    """A module that notes when it is changed."""

    def __setattr__(self, name, value):
        noted.changed = True
        super().__setattr__(name, value)

    def __delattr__(self, name):
        noted.changed = True
        super().__delattr__(name)


# What the host calls itself, unnoted.
put_variable = os.putenv
unset_variable = os.unsetenv


class SimpleQueue(queue.SimpleQueue):
    """The same, but a thread that waits in it can be told from one that works."""

    __slots__ = ()

    def get(self, block=True, timeout=None):
        return super().get(block, timeout)


SimpleQueue.__module__ = queue.SimpleQueue.__module__
SimpleQueue.__doc__ = queue.SimpleQueue.__doc__

# Modules, and their functions that change a process.
LED = (
    (os, "chdir fchdir umask closerange dup2 chmod fchmod lchmod rename replace lseek pwrite pwritev"),
    (signal, "signal alarm setitimer pthread_sigmask set_wakeup_fd siginterrupt"),
    (resource, "setrlimit prlimit"),
    (sys, "setrecursionlimit setprofile setswitchinterval settrace set_int_max_str_digits"),
    (getattr(sys, "monitoring", None), "use_tool_id set_events register_callback"),
    (gc, "disable enable freeze set_debug set_threshold"),
    (socket, "setdefaulttimeout"),
    (threading, "stack_size settrace setprofile settrace_all_threads setprofile_all_threads"),
    (locale, "setlocale"),
    (logging, "disable setLogRecordFactory setLoggerClass captureWarnings addLevelName"),
    (logging.Filterer, "addFilter removeFilter"),
    (logging.Logger, "addHandler removeHandler"),
    (decimal, "setcontext"),
    (codecs, "register_error"),
    (asyncio, "set_event_loop_policy"),
    (asyncio.events, "set_event_loop_policy"),
    (faulthandler, "enable disable dump_traceback_later"),
    (_tracemalloc, "start stop"),
)  # fmt: skip


def lead():
    """Makes Python's functions that change a process note it. Once, before any function is loaded."""
    if hasattr(asyncio.runners, "signal"):
        # It puts its handler back by itself, for each coroutine that it runs.
        asyncio.runners.signal = types.ModuleType("signal")
        asyncio.runners.signal.__dict__.update(signal.__dict__)
    for owner, names in LED:
        for name in names.split():
            if hasattr(owner, name):
                setattr(owner, name, noting(getattr(owner, name)))
    when_imported("tracemalloc", lead_tracemalloc)
    # `os.environ` calls them.
    os.putenv, os.unsetenv = noting_variable(os.putenv), noting_variable(os.unsetenv)
    sys.addaudithook = noting_hook(sys.addaudithook)
    decimal.getcontext = noting_decimals(decimal.getcontext)
    faulthandler.register = noting_dump(faulthandler.register)
    # Levels, formatters, `disabled` and `propagate` are attributes.
    logging.Filterer.__setattr__ = noting(object.__setattr__)
    queue.SimpleQueue = SimpleQueue
    for module in (builtins, logging):
        module.__class__ = WatchedModule


def lead_tracemalloc(module):
    module.start, module.stop = _tracemalloc.start, _tracemalloc.stop
