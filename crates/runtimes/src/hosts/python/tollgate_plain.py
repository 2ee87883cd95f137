"""What makes a function find Python as it knows it, where the walls would show through.

Nothing here is a wall: what it names is refused by the kernel in any case. It gives answers where
Python's library asks files or the kernel, and puts words to what is refused.
"""

import errno
import os
import socket
import sys
import threading

from tollgate_imports import when_imported

NO_PROCESS = (
    "a function may start no process; use threads (concurrent.futures.ThreadPoolExecutor, "
    "multiprocessing.pool.ThreadPool) or asyncio"
)
NO_SOCKET = (
    "a function opens no connections of its own, so no sockets, SMTP, FTP or database servers; make "
    'HTTP requests with sdk_client.http, requests, httpx or urllib (network: "egress"), mail too '
    "through a provider's HTTP interface"
)
NO_NAMES = f"names are looked up by the server alone: {NO_SOCKET}"

# Types of files that people send about, beyond those that every Python knows.
TYPES = {
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".ics": "text/calendar",
    ".md": "text/markdown",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ogg": "audio/ogg",
    ".parquet": "application/vnd.apache.parquet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".svgz": "image/svg+xml",
    ".weba": "audio/webm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def prepare(walls):
    """Once, in the host, before any function is loaded. `walls`: whether there are any."""
    when_imported("pwd", patch_pwd)
    when_imported("grp", patch_grp)
    if not walls:
        return
    when_imported("mimetypes", patch_mimetypes)
    when_imported("multiprocessing.synchronize", patch_synchronize)
    when_imported("_posixsubprocess", lambda module: refuse(module, "fork_exec"))
    when_imported("subprocess", lambda module: refuse(module, "_fork_exec"))
    refuse(os, "fork", "forkpty", "posix_spawn", "posix_spawnp", "system")
    patch_socket()


# Users


def patch_pwd(pwd):
    """There is no /etc/passwd to be read; a process still has a user."""
    getpwuid, getpwnam, getpwall = pwd.getpwuid, pwd.getpwnam, pwd.getpwall

    def own():
        home = os.environ.get("HOME") or "/"
        return pwd.struct_passwd(("function", "x", os.getuid(), os.getgid(), "", home, "/bin/sh"))

    def by_number(uid):
        try:
            return getpwuid(uid)
        except (KeyError, OSError):
            if uid == os.getuid():
                return own()
            raise KeyError(f"getpwuid(): uid not found: {uid}") from None

    def by_name(name):
        try:
            return getpwnam(name)
        except (KeyError, OSError):
            if name == "function":
                return own()
            raise KeyError(f"getpwnam(): name not found: {name!r}") from None

    def every():
        try:
            return getpwall() or [own()]
        except OSError:
            return [own()]

    pwd.getpwuid, pwd.getpwnam, pwd.getpwall = by_number, by_name, every


def patch_grp(grp):
    getgrgid = grp.getgrgid

    def by_number(gid):
        try:
            return getgrgid(gid)
        except (KeyError, OSError):
            if gid == os.getgid():
                return grp.struct_group(("function", "x", gid, []))
            raise KeyError(f"getgrgid(): gid not found: {gid}") from None

    grp.getgrgid = by_number


# Files


def patch_mimetypes(mimetypes):
    # The system's lists cannot be read here.
    mimetypes.knownfiles = []
    for known in (mimetypes._types_map_default, mimetypes.types_map):
        for ending, kind in TYPES.items():
            known.setdefault(ending, kind)


# Processes


def patch_synchronize(module):
    """Without processes a thread's lock is as good as one that processes share, and needs no shared
    memory."""

    def stands_for(make):
        def made(*args, ctx=None, **kwargs):
            return make(*args, **kwargs)

        return made

    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Barrier"):
        setattr(module, name, stands_for(getattr(threading, name)))
    module.Condition = stands_for(threading.Condition)


def refuse(module, *names):
    def refuser(*_, **__):
        raise PermissionError(errno.EPERM, NO_PROCESS)

    for name in names:
        if hasattr(module, name):
            setattr(module, name, refuser)


# Sockets


def patch_socket():
    init, find = socket.socket.__init__, socket.getaddrinfo

    def made(self, *args, **kwargs):
        try:
            init(self, *args, **kwargs)
        except PermissionError:
            raise PermissionError(errno.EPERM, NO_SOCKET) from None

    def found(*args, **kwargs):
        try:
            return find(*args, **kwargs)
        except socket.gaierror as error:
            raise socket.gaierror(error.errno, NO_NAMES) from None

    socket.socket.__init__ = made
    socket.getaddrinfo = found
    for name in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        setattr(socket, name, named(getattr(socket, name)))


def named(ask):
    def asked(*args):
        try:
            return ask(*args)
        except (socket.gaierror, socket.herror) as error:
            raise type(error)(error.errno, NO_NAMES) from None

    return asked


def script(filename):
    """The program's arguments are those of a script without any."""
    sys.argv[:] = [filename]
    sys.orig_argv[:] = [sys.executable, filename]
