"""Errors that say that there is no more room: reaching a limit is no fault of the code that raised."""

import builtins
import errno

# Python 3.9 and 3.10 have none.
Group = getattr(builtins, "BaseExceptionGroup", ())
# As Python has them, whatever the function made of it.
CONTEXT = BaseException.__context__.__get__
CAUSE = BaseException.__cause__.__get__
TRACEBACK = BaseException.__traceback__.__get__
# So many errors of one chain are looked at.
CHAIN_MAX = 64


def chain(error):
    """An exception and what it came from, as far as it is worth a look."""
    seen, waiting = set(), [error]
    while waiting and len(seen) < CHAIN_MAX:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [CONTEXT(error), CAUSE(error)]
        if isinstance(error, Group):
            waiting += Group.exceptions.__get__(error)


def no_room(error, limits):
    """The limit that an exception speaks of, in words; None if of none. What it came from counts."""
    for one in chain(error):
        found = of_one(one, limits)
        if found:
            return found
    return None


def of_one(error, limits):
    if isinstance(error, MemoryError):
        return f"The function needed more than its {limits['memory_mb']} MiB of memory."
    # Its text is not asked for: the function may have a say in that.
    if type(error) is RuntimeError and error.args == ("can't start new thread",):
        return f"No thread could be started: a worker may have {limits['threads']} in all."
    if not isinstance(error, OSError):
        return None
    # EAGAIN is not among them: a lock that another holds, or a pipe without data, says the same.
    number = OSError.errno.__get__(error)
    if number == errno.ENOMEM:
        return f"The function needed more than its {limits['memory_mb']} MiB of memory."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"The scratch folder is full: it holds {limits['scratch_bytes'] >> 20} MiB and {limits['scratch_files']} files."
    if number in (errno.EMFILE, errno.ENFILE):
        return f"The function has too many files open: a worker may have {limits['open_files']}."
    if number == errno.EFBIG:
        return f"A file grew larger than the limit of {limits['file_bytes'] >> 20} MiB."
    return None


def is_refused(error):
    """Whether something was not permitted, here or where an exception came from."""
    return any(
        isinstance(one, OSError) and OSError.errno.__get__(one) == errno.EPERM
        for one in chain(error)
    )
