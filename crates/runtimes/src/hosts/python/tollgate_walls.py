"""The walls that a worker puts up around itself before it sees a function's code.

The launcher decides them and hands over the numbers; here they are only carried out. Whatever fails
ends the worker: there must be no way on without them.
"""

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
LANDLOCK_RULE_PATH_BENEATH = 1
# Files and folders in one scratch folder.
SCRATCH_FILES = 16384

LIBC = ctypes.CDLL(None, use_errno=True)
# Functions are refused it, with words.
FORK = os.fork


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
    restrict_self(walls, walls["rules"])
    if walls["own_folder"] is not None:
        bind_to_folder(walls, folder)


def restrict_self(walls, rules):
    check(LIBC.syscall(walls["calls"]["landlock_restrict_self"], rules, 0), "landlock")


def bind_to_folder(walls, folder):
    """A second layer of file rules: of all that lies beside it, a worker may touch its folder only."""
    layer, call = walls["own_folder"], walls["calls"]
    attributes = struct.pack("=Q", layer["handled"])
    rules = LIBC.syscall(call["landlock_create_ruleset"], attributes, len(attributes), 0)
    if rules < 0:
        check(rules, "landlock")
    for path, access in [*layer["shown"], (folder, layer["own"])]:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", access, beneath)
        added = LIBC.syscall(call["landlock_add_rule"], rules, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        os.close(beneath)
        check(added, "landlock")
    restrict_self(walls, rules)
    os.close(rules)


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
    if folder is None or FORK() != 0:
        return
    with contextlib.suppress(BaseException):
        signal.set_wakeup_fd(-1)
        empty(folder)
        os.rmdir(folder)
    os._exit(0)


def empty(folder):
    """Removes what is in a folder, however deep: each folder inside is moved to the top first."""
    top = open_folder(folder)
    moved = 0
    while True:
        inside = unlink_files(top)
        if not inside:
            break
        for name in inside:
            within = open_folder(name, top)
            for deeper in unlink_files(within):
                os.chmod(deeper, 0o700, dir_fd=within)
                while True:
                    moved += 1
                    # Something may have that name.
                    with contextlib.suppress(FileExistsError, NotADirectoryError):
                        if rename(deeper, f"moved-{moved}", within, top):
                            break
            os.close(within)
            os.rmdir(name, dir_fd=top)
    os.close(top)


def rename(name, other, around, top):
    """False where the new name is another folder's that is not empty."""
    try:
        os.rename(name, other, src_dir_fd=around, dst_dir_fd=top)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def open_folder(name, around=None):
    # Its owner may have closed it to itself. It is no link: whoever could put one there is dead.
    os.chmod(name, 0o700, dir_fd=around)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=around)


def unlink_files(folder):
    """Removes all but folders from a folder, and names those."""
    inside = []
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            inside.append(entry.name)
        else:
            os.unlink(entry.name, dir_fd=folder)
    return inside


def bound_memory(data_bytes, request):
    """What a function reserves, beyond which Python raises `MemoryError`. What it uses is bounded
    from outside."""
    limit = data_bytes + ((request["memory_mb"] + request["reserve_mb"]) << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
