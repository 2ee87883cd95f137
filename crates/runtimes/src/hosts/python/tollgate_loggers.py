"""What `logging` and `warnings` were like after loading, and putting them back to that."""

import logging
import warnings

# What is set in the module itself.
SETTINGS = (
    "raiseExceptions", "lastResort", "logThreads", "logProcesses", "logMultiprocessing",
    "logAsyncioTasks", "_srcfile", "_logRecordFactory", "_loggerClass", "_warnings_showwarning",
)  # fmt: skip
OF_LOGGER = ("level", "disabled", "propagate")
OF_HANDLER = ("level", "formatter")
# A logger that nobody has set.
FRESH = {"level": logging.NOTSET, "disabled": False, "propagate": True}


class Loggers:
    """Loggers, their handlers, and warnings."""

    def __init__(self):
        root = logging.root
        self.handlers, self.filters = list(root.handlers), list(root.filters)
        self.disabled = root.manager.disable
        self.settings = {
            name: getattr(logging, name) for name in SETTINGS if hasattr(logging, name)
        }
        self.levels = dict(logging._levelToName), dict(logging._nameToLevel)
        self.known = len(logging._handlerList)
        self.loggers = {logger: kept(logger, OF_LOGGER) for logger in every_logger()}
        self.lists = {
            logger: (list(logger.handlers), list(logger.filters)) for logger in self.loggers
        }
        handlers = {handler for lists in self.lists.values() for handler in lists[0]}
        self.of_handlers = {
            handler: (kept(handler, OF_HANDLER), list(handler.filters)) for handler in handlers
        }
        self.warned = list(warnings.filters)
        self.showwarning = warnings.showwarning

    def put_back(self):
        for name, value in self.settings.items():
            setattr(logging, name, value)
        for names, before in zip((logging._levelToName, logging._nameToLevel), self.levels):
            names.clear()
            names.update(before)
        for logger in every_logger():
            handlers, filters = self.lists.get(logger, ((), ()))
            put_back(logger, self.loggers.get(logger, FRESH), filters)
            logger.handlers = list(handlers)
        for handler, (values, filters) in self.of_handlers.items():
            put_back(handler, values, filters)
        logging.disable(self.disabled)
        logging.root.manager._clear_cache()
        self.known = len(logging._handlerList)
        warnings.filters[:] = self.warned
        warnings.showwarning = self.showwarning


def every_logger():
    found = [logging.root]
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            found.append(logger)
    return found


def kept(owner, names):
    return {name: getattr(owner, name, None) for name in names}


def put_back(owner, values, filters):
    for name, value in values.items():
        if getattr(owner, name, None) != value:
            setattr(owner, name, value)
    owner.filters = list(filters)
