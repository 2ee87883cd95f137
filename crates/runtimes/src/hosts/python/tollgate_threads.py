"""Threads that a call left behind.

What waits for work works for whichever call gives it some. What waits for anything else belongs to
the call before, and has no voice. What runs, or will by itself when its time has come, would meet a
later call: a timer is cancelled, and for all else the worker must go.
"""

import sys
import threading
from _thread import _count as thread_count
from threading import Timer, get_ident
from time import monotonic

THREADS_KEPT = 16
# How long a thread that still runs is given to end.
ENDING_SECONDS = 0.005

FOR_WORK = "waits for work that a later call may give it"
WAITS = "waits for something else, without end"
FOR_TIME = "waits for a time"
AT_WORK = "runs"
# They go on by themselves.
GO_ON = (FOR_TIME, AT_WORK)

all_threads = threading.enumerate
frames_of_threads = sys._current_frames


class Threads:
    """The threads that there were after loading, and what became of others."""

    def __init__(self, logs, channel):
        self.logs = logs
        self.channel = channel
        self.main = get_ident()
        self.known = set()
        self.unknown = 0

    def remember(self):
        """What loading started stays, except timers."""
        self.known, self.unknown = set(), 0
        self.channel.left = set()
        if not thread_count():
            return
        self.cancel_timers(self.others(), "The top of the module ended")
        threads = self.others()
        self.known = {thread.native_id for thread in threads}
        self.unknown = max(0, thread_count() - len(threads))
        self.silence(threads)

    def others(self):
        return [thread for thread in all_threads() if thread.ident != self.main]

    def silence(self, threads):
        """What all but those for work print from here on belongs to no call. Gives their states."""
        frames = frames_of_threads()
        states = {thread: state_of(frames.get(thread.ident)) for thread in threads}
        self.channel.left = {
            thread.native_id for thread in threads if states[thread] is not FOR_WORK
        }
        return states

    def left(self):
        """Why the worker must go because of its threads; None if it may stay."""
        self.channel.left = set()
        if not thread_count():
            return None
        if self.cancel_timers(self.others(), "main returned"):
            return self.left()
        threads = self.others()
        states = self.silence(threads)
        new = [thread for thread in threads if thread.native_id not in self.known]
        going_on = [thread for thread in new if states[thread] in GO_ON]
        if going_on and one_ends(going_on):
            return self.left()
        # Those that were started below `threading` are in no list.
        unknown = max(0, thread_count() - len(threads) - self.unknown)
        count = len(going_on) + unknown
        if count:
            self.logs.note(
                f"main returned while {many(count, 'thread')} still ran or waited for a time: the "
                "worker was ended, and the next call waits for a new one. Join the threads that you "
                "start."
            )
            return f"it left {many(count, 'thread')} running"
        if len(new) > THREADS_KEPT:
            return f"it left {len(new)} threads"
        return None

    def cancel_timers(self, threads, when):
        """Whether timers were set, none of which is left now."""
        timers = [thread for thread in threads if is_set(thread)]
        for timer in timers:
            timer.finished.set()
        until = monotonic() + ENDING_SECONDS
        for timer in timers:
            timer.join(max(0, until - monotonic()))
        if timers and self.logs:
            count = many(len(timers), "timer")
            self.logs.note(f"{when} with {count} set (threading.Timer): what was to come is cancelled.")
        return bool(timers) and not any(timer.is_alive() for timer in timers)


def is_set(thread):
    return isinstance(thread, Timer) and not thread.finished.is_set()


def one_ends(threads):
    """Whether one of these was just about to end."""
    until = monotonic() + ENDING_SECONDS
    while monotonic() < until:
        for thread in threads:
            thread.join(ENDING_SECONDS / 10)
            if not thread.is_alive():
                return True
    return False


def state_of(frame):
    """What a thread does, by the innermost functions of Python that it is in."""
    if frame is None:
        return AT_WORK
    place = place_of(frame)
    if place == ("concurrent.futures.thread", "_worker"):
        return FOR_WORK
    if place[0] == "tollgate_frames":
        # For the answer to its request, which comes at once when its call is over.
        return WAITS
    given = frame.f_locals.get("timeout")
    endless = given is None or given == -1
    if place == ("tollgate_noted", "get"):
        return FOR_WORK if endless else FOR_TIME
    if place == ("selectors", "select"):
        return FOR_WORK if endless else FOR_TIME
    if place[0] == "threading" and place[1] in ("wait", "join", "_wait_for_tstate_lock"):
        if not endless:
            return FOR_TIME
        return FOR_WORK if place_of(frame.f_back) == ("queue", "get") else WAITS
    return AT_WORK


def place_of(frame):
    """The names of a frame's module and function."""
    return (frame.f_globals.get("__name__"), frame.f_code.co_name) if frame else (None, None)


def many(count, what):
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
