"""Tries to start a process in every way there is."""

import ctypes
import errno
import multiprocessing
import os
import platform
import pty
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
CLONE = 56 if X86 else 220
EXECVE = 59 if X86 else 221
EXECVEAT = 322 if X86 else 281
FORK, VFORK, CLONE3 = 57, 58, 435
SIGCHLD = 17
CLONE_VM, CLONE_PARENT, CLONE_THREAD = 0x100, 0x8000, 0x10000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000


def call(number, *args):
    pid = LIBC.syscall(number, *args)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "call")


def libc_call(name, *args):
    ctypes.set_errno(0)
    outcome = getattr(LIBC, name)(*args)
    if outcome == 0 and name in ("fork", "vfork"):
        os._exit(0)
    if outcome != 0 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), name)
    if name == "posix_spawn" and outcome:
        raise OSError(outcome, name)


def spawn():
    os.posix_spawn("/proc/self/exe", ["x"], {})


def system():
    if os.system("true") != 0:
        raise OSError(errno.EPERM, "system")


def main(params):
    path = ctypes.c_char_p(b"/bin/true")
    ways = {
        "os.fork": os.fork,
        "pty.fork": pty.fork,
        "subprocess": lambda: subprocess.run(["/bin/true"], check=True),
        "posix_spawn": spawn,
        "system": system,
        "multiprocessing": lambda: multiprocessing.Process(target=print).start(),
        "execv": lambda: os.execv("/bin/true", ["true"]),
        "libc fork": lambda: libc_call("fork"),
        "clone": lambda: call(CLONE, SIGCHLD, 0, 0, 0, 0),
        "clone beside the parent": lambda: call(CLONE, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0),
        "clone with memory": lambda: call(CLONE, SIGCHLD | CLONE_VM, 0, 0, 0, 0),
        "clone into a namespace": lambda: call(CLONE, SIGCHLD | CLONE_NEWUSER | CLONE_NEWPID, 0, 0, 0, 0),
        "clone3": lambda: call(CLONE3, ctypes.create_string_buffer(88), 88),
        "execve": lambda: call(EXECVE, path, 0, 0),
        "execveat": lambda: call(EXECVEAT, -100, path, 0, 0, 0),
    }
    if X86:
        ways["fork"] = lambda: call(FORK)
        ways["vfork"] = lambda: call(VFORK)
    seen = {}
    for name, way in ways.items():
        try:
            way()
            seen[name] = "done"
        except OSError as error:
            # `pty` finds no terminals, and says so without a number.
            known = (None, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT)
            refused = error.errno in known
            seen[name] = "refused" if refused else str(error)
    return seen
