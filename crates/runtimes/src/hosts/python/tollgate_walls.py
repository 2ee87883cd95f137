"""The walls that a worker puts up around itself before it sees a function's code.

The launcher decides them and hands over the numbers; here they are only carried out. Whatever fails
ends the worker: there must be no way on without them.
"""

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
# Files and folders in one scratch folder.
SCRATCH_FILES = 16384

LIBC = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def check(outcome, what):
    if outcome != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


def separate(walls, folder):
    """Namespaces and scratch folder, limits, no capabilities, file rules."""
    if walls["scratch_bytes"] is not None:
        own_namespaces(walls)
    else:
        os.mkdir(folder, 0o700)
    home = folder or walls["scratch"]
    os.chdir(home)
    os.environ.update(HOME=home, TMPDIR=home)
    if walls["threads"] is not None:
        # Counted in this worker's own user namespace.
        resource.setrlimit(resource.RLIMIT_NPROC, (walls["threads"], walls["threads"]))
    call = walls["calls"]
    check(LIBC.syscall(call["landlock_restrict_self"], walls["rules"], 0), "landlock")


def own_namespaces(walls):
    user, group = os.geteuid(), os.getegid()
    check(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    for name, text in (
        ("self/uid_map", f"{user} {user} 1"),
        ("self/setgroups", "deny"),
        ("self/gid_map", f"{group} {group} 1"),
    ):
        descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=walls["proc"])
        os.write(descriptor, text.encode())
        os.close(descriptor)
    options = f"size={walls['scratch_bytes']},nr_inodes={SCRATCH_FILES},mode=0700"
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    scratch = walls["scratch"].encode()
    check(LIBC.mount(b"tmpfs", scratch, b"tmpfs", flags, options.encode()), "mount")
    # The new namespace came with every capability over itself.
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    check(LIBC.syscall(walls["calls"]["capset"], header, none), "capset")


def filter_calls(walls):
    """The last wall: from here on only what a function may do."""
    program = bytearray.fromhex(walls["filter"])
    blank = walls["own_pid"].to_bytes(4, sys.byteorder)
    own = os.getpid().to_bytes(4, sys.byteorder)
    # The last four of an instruction's eight bytes are its number.
    for place in range(4, len(program), 8):
        if program[place : place + 4] == blank:
            program[place : place + 4] = own
    request = Program(len(program) // 8, bytes(program))
    outcome = LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(request), 0, 0)
    check(outcome, "seccomp")


def new_folder(walls):
    """The path of a new worker's scratch folder; none where it has one in memory.

    The folder around it cannot be listed, so that no other worker finds this one.
    """
    if not walls or walls["scratch_bytes"] is not None:
        return None
    return os.path.join(walls["scratch"], os.urandom(16).hex())


def remove_place(walls):
    """Removes the folder around all workers' folders, where it is on disk and empty."""
    if walls and walls["scratch_bytes"] is None:
        for folder in (os.path.join(walls["scratch"], "own"), walls["scratch"]):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def remove_folder(folder):
    """Removes what a dead worker left on disk, in a child of its own: it may be made to take long,
    or to be too deep."""
    if folder is None or os.fork() != 0:
        return
    with contextlib.suppress(BaseException):
        signal.set_wakeup_fd(-1)
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
