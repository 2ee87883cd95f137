"""What is compared after each call, because nothing notes that it was changed.

It comes with every call, so it is one object with few steps: names are looked up once, and lists are
compared with what they were before anything is asked of the kernel.
"""

import decimal
import gc
import logging
import operator
import os
import sys
import threading
import warnings

from tollgate_noted import noted

# Of a decimal context, beside its traps and flags.
DECIMAL_SIZES = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
of_decimals = operator.attrgetter(*DECIMAL_SIZES)


class Glance:
    """What Python was like after loading. Made again whenever some of that was put right."""

    __slots__ = ("ones", "lists", "root", "handlers", "context", "kept", "flags", "sizes")

    def __init__(self, fitness):
        loggers = fitness.loggers
        self.ones = (
            *fitness.sys[:5], fitness.profile, fitness.os_environ, fitness.excepthook, loggers.showwarning,
        )  # fmt: skip
        self.root = logging.root
        # Python's own list of all handlers: it grows with each new one.
        self.handlers = logging._handlerList
        self.lists = (
            fitness.path, fitness.argv, fitness.finders, fitness.gc_callbacks, loggers.handlers,
            loggers.filters, loggers.warned, loggers.known,
        )  # fmt: skip
        self.context, self.kept = fitness.context, fitness.decimals
        # Part of it, which must outlive it.
        self.flags = self.kept.flags
        self.sizes = of_decimals(self.kept)

    def differs(self):
        context, root = self.context, self.root
        if context.flags != self.flags:
            # Most calculations set some.
            context.flags = self.flags
        # One comparison of many costs less than many. What is the same object is not asked.
        ones = (
            sys.stdout, sys.stderr, sys.stdin, sys.excepthook, sys.unraisablehook, get_profile(),
            os.environ, threading.excepthook, warnings.showwarning,
        )  # fmt: skip
        lists = (
            sys.path, sys.argv, sys.meta_path, gc.callbacks, root.handlers, root.filters,
            warnings.filters, len(self.handlers),
        )  # fmt: skip
        return ones != self.ones or lists != self.lists or noted.decimals and self.decimals_differ()

    def decimals_differ(self):
        return self.context.traps != self.kept.traps or of_decimals(self.context) != self.sizes


get_profile = sys.getprofile
