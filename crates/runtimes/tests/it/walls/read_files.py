"""Tries to read what belongs to others, in every way there is."""

import ctypes
import errno
import os
import platform
import shutil
import socket
import sqlite3
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
NAME_TO_HANDLE, OPEN_BY_HANDLE = (303, 304) if X86 else (264, 265)
OPENAT2, OPEN_TREE = 437, 428
AT_FDCWD = -100


def text_of(path):
    with open(path, "rb") as file:
        return file.read(4096).decode("latin-1")


def called(number, *args):
    outcome = LIBC.syscall(number, *args)
    if outcome < 0:
        raise OSError(ctypes.get_errno(), "call")
    return outcome


def through_symlink(path):
    os.symlink(path, "symlink")
    try:
        return text_of("symlink")
    finally:
        os.unlink("symlink")


def through_folder_symlink(path):
    os.symlink(os.path.dirname(path), "folder")
    try:
        return text_of("folder/" + os.path.basename(path))
    finally:
        os.unlink("folder")


def through_hard_link(path):
    os.link(path, "hard")
    return text_of("hard")


def upwards(path):
    return text_of("../" * 20 + path.lstrip("/"))


def through_folder_descriptor(path):
    folder = os.open(os.path.dirname(path), os.O_PATH)
    with open(os.open(os.path.basename(path), os.O_RDONLY, dir_fd=folder)) as file:
        return file.read()


def through_root(path):
    os.chroot(os.path.dirname(path))
    return text_of("/" + os.path.basename(path))


def through_handle(path):
    buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    called(NAME_TO_HANDLE, AT_FDCWD, path.encode(), buffer, ctypes.byref(mount), 0)
    return os.read(called(OPEN_BY_HANDLE, AT_FDCWD, buffer, os.O_RDONLY), 100).decode()


def guessed_handle(_):
    buffer = ctypes.create_string_buffer(struct.pack("IiII", 8, 1, 2, 0))
    return os.listdir(called(OPEN_BY_HANDLE, os.open(os.getcwd(), os.O_RDONLY), buffer, os.O_RDONLY))


def through_openat2(path):
    how = struct.pack("QQQ", os.O_RDONLY, 0, 0)
    return os.read(called(OPENAT2, AT_FDCWD, path.encode(), how, len(how)), 100).decode()


def by_moving(path):
    os.rename(path, "moved")
    return text_of("moved")


def by_exchange(path):
    open("own", "w").close()
    called(316 if X86 else 276, AT_FDCWD, path.encode(), AT_FDCWD, b"own", 2)
    return text_of("own")


def inherited(_):
    found = []
    for descriptor in range(3, 1024):
        try:
            found.append(os.pread(descriptor, 100, 0).decode("latin-1").strip("\0"))
        except OSError:
            pass
    # The worker's own journal is there, and empty.
    if not any(found):
        raise PermissionError(errno.EPERM, "none")
    return found


def written(path):
    with open(path, "a") as file:
        file.write("more")
    return "written"


def truncated(path):
    os.truncate(path, 1)
    return "truncated"


def main(params):
    folder = params["folder"]
    canaries = [os.path.join(folder, name) for name in params["files"]]
    ways = {}
    for path in canaries:
        ways[f"open {os.path.basename(path)}"] = lambda path=path: text_of(path)
    path = canaries[1]
    for way in (
        through_symlink, through_folder_symlink, through_hard_link, upwards,
        through_folder_descriptor, through_root, through_handle, guessed_handle, through_openat2,
        by_moving, by_exchange, inherited, written, truncated,
    ):  # fmt: skip
        ways[way.__name__] = lambda way=way: way(path)
    ways["copy"] = lambda: shutil.copyfile(path, "copy")
    ways["sqlite"] = lambda: sqlite3.connect(path).execute("select * from x").fetchall()
    ways["listing"] = lambda: os.listdir(folder)
    ways["chmod"] = lambda: os.chmod(path, 0)
    ways["remove"] = lambda: os.remove(path)
    ways["create"] = lambda: open(os.path.join(folder, "new"), "w").close()
    ways["socket file"] = lambda: socket.socket(socket.AF_UNIX).bind(os.path.join(folder, "socket"))
    for other in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/var/log/dpkg.log"):
        ways[other] = lambda other=other: text_of(other)
    for pid in ("self", params["server"], params["launcher"], os.getppid(), 1):
        for name in ("environ", "maps", "mem", "cmdline"):
            ways[f"{name} of {pid}"] = lambda pid=pid, name=name: text_of(f"/proc/{pid}/{name}")
        ways[f"root of {pid}"] = lambda pid=pid: text_of(f"/proc/{pid}/root{path}")
        ways[f"descriptors of {pid}"] = lambda pid=pid: os.listdir(f"/proc/{pid}/fd")
    seen = {}
    for name, way in ways.items():
        try:
            seen[name] = f"done: {way()}"
        except (OSError, sqlite3.Error) as error:
            seen[name] = f"refused: {error}"
    return seen
