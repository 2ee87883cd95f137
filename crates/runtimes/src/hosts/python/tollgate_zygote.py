"""The zygote: forks workers, kills them with all they started, and reports how they ended.

It imports what functions commonly need, so that a worker has it at once. It never runs user code,
has one thread, and waits on descriptors only. Runs on CPython 3.9 and later.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import resource
import selectors
import signal
import socket
import sys

import tollgate_fit
import tollgate_noted
import tollgate_plain
import tollgate_walls
from tollgate_frames import decode, encode
from tollgate_worker import JOURNAL_FD, SOCKET_FD, rehearse, work

# What functions commonly import.
COMMON = (
    "base64", "collections", "copy", "csv", "dataclasses", "datetime", "decimal", "email.utils",
    "enum", "fractions", "functools", "hashlib", "hmac", "html", "itertools", "locale", "logging", "operator", "re",
    "secrets", "statistics", "string", "textwrap", "typing", "unicodedata", "urllib.parse", "uuid",
)  # fmt: skip

# Exit codes that the server knows.
EXIT_HOST_BROKEN = 70
EXIT_OUT_OF_MEMORY = 86

# How long the zygote lets things rest before it makes a new spare worker: a fork right after a
# start would take the processor from the worker that somebody waits for.
SPARE_DELAY = 0.005

# What a worker is given: its socket, its journal, and what it writes to as descriptors 1 and 2.
WORKER_FDS = (SOCKET_FD, JOURNAL_FD, 1, 2)

# A worker's word to the zygote that its walls stand.
READY = b"."

# Functions are refused it, with words.
FORK = os.fork
PR_SET_PDEATHSIG = 1
PRCTL = ctypes.CDLL(None).prctl
# Where the walls hide /proc, what the launcher left open of it.
PROC = "/proc"


class Zygote:
    """Forks workers, kills them with all they started, and reports how they ended."""

    def __init__(self, walls):
        self.walls = walls
        self.proc = walls["proc"] if walls else os.open(PROC, os.O_PATH | os.O_DIRECTORY)
        # Descriptor 0 is the control socket; user code must not find it there.
        self.control = socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        self.pid = os.getpid()
        self.spare = None
        self.spare_wanted = True
        self.pid_of = {}
        self.id_of = {}
        self.folder_of = {}
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.wake_reader.setblocking(False)
        self.wake_writer.setblocking(False)
        signal.set_wakeup_fd(self.wake_writer.fileno(), warn_on_full_buffer=False)
        self.stopping = False
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_terminate)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.control, selectors.EVENT_READ)
        self.selector.register(self.wake_reader, selectors.EVENT_READ)

    def on_terminate(self, *_):
        self.stopping = True

    def serve(self):
        self.tell({"op": "ready", "pid": self.pid, "version": sys.version.split()[0]})
        while not self.stopping:
            ready = self.selector.select(SPARE_DELAY if self.spare_wanted else None)
            if not ready and self.spare_wanted:
                self.spare_wanted = False
                # Out of processes: the next request tries again, and reports it.
                with contextlib.suppress(OSError):
                    self.make_spare()
            for key, _ in ready:
                if key.fileobj is self.wake_reader:
                    with contextlib.suppress(BlockingIOError):
                        self.wake_reader.recv(4096)
                    self.reap()
                elif not self.obey():
                    self.stopping = True
        self.end()

    def obey(self):
        """Does what one message asks for. False once the server is gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self.control, 4096, len(WORKER_FDS) + 2)
        except OSError:
            return False
        if not message:
            return False
        request = decode(message.decode())
        if request["op"] == "spawn":
            self.spawn(request["id"], descriptors)
        elif request["op"] == "kill":
            self.kill(request["id"])
        return True

    def spawn(self, ident, descriptors):
        """Gives its descriptors to the spare worker, or to a new one if there is none. What
        follows them are the entrances of the worker's control groups."""
        try:
            # A spare one that has died refuses; a fresh one has had no time to.
            if self.assign(ident, descriptors):
                self.make_spare()
                error = self.assign(ident, descriptors)
                if error:
                    self.tell({"op": "failed", "id": ident, "error": error})
        except OSError as error:
            self.tell({"op": "failed", "id": ident, "error": f"fork: {error.strerror}"})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.spare_wanted = self.spare is None

    def assign(self, ident, descriptors):
        """Gives the descriptors to the spare worker. Returns what is wrong with it, or None."""
        given = descriptors[: len(WORKER_FDS)]
        entrance = descriptors[len(WORKER_FDS) :]
        if self.spare is None:
            return "there is no spare worker"
        (pid, line), self.spare = self.spare, None
        with line:
            try:
                # It has run no function's code yet, so its word is the host's.
                word = line.recv(1000)
                if word != READY:
                    return word.decode(errors="replace") or "a new worker died"
                for group in entrance:
                    os.write(group, str(pid).encode())
                # Before it can be used, so that it is watched from then on.
                self.tell_of(ident, pid)
                socket.send_fds(line, [b"!"], given)
            except OSError as error:
                return f"a new worker died: {error.strerror}"
        self.pid_of[ident] = pid
        self.id_of[pid] = ident
        return None

    def make_spare(self):
        """Forks a worker that waits to be assigned: a start then costs no fork."""
        folder = tollgate_walls.new_folder(self.walls)
        line, other = socket.socketpair()
        with other:
            try:
                pid = FORK()
            except OSError:
                line.close()
                raise
            if pid == 0:
                try:
                    self.become_worker(other, folder)
                    work(self.data_bytes(), may_fork=not self.walls)
                except MemoryError:
                    os._exit(EXIT_OUT_OF_MEMORY)
                finally:
                    os._exit(EXIT_HOST_BROKEN)
        if folder is not None:
            self.folder_of[pid] = folder
        self.spare = (pid, line)
        # Known, but nobody's.
        self.id_of[pid] = None

    def become_worker(self, line, folder):
        """Cuts every tie between a new worker and the zygote except the death signal, puts up the
        worker's walls, and waits to be given its descriptors."""
        os.setsid()
        if self.walls:
            self.put_up(tollgate_walls.separate, line, folder)
        # After the change of namespace, which may clear it.
        PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self.pid:
            os._exit(0)
        # Where others have their files is nothing for it to know.
        self.folder_of.clear()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.selector.close()
        for own in (self.control, self.wake_reader, self.wake_writer):
            own.close()
        line = socket.socket(fileno=move(line.detach(), SOCKET_FD))
        os.closerange(SOCKET_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os.dup2(0, 2)
        unbuffer()
        rehearse()
        if self.walls:
            self.put_up(tollgate_walls.filter_calls, line)
        line.send(READY)
        _, descriptors, _, _ = socket.recv_fds(line, 1, len(WORKER_FDS))
        if len(descriptors) != len(WORKER_FDS):
            os._exit(0)
        line.close()
        # Via high numbers, because they may arrive as each other's.
        high = [move_up(descriptor) for descriptor in descriptors]
        for descriptor, number in zip(high, WORKER_FDS):
            move(descriptor, number)

    def put_up(self, wall, line, *more):
        """Puts up walls, or says why not and ends the worker."""
        try:
            wall(self.walls, *more)
        except OSError as error:
            line.send(f"its walls do not stand: {error.filename}: {error.strerror}".encode())
            os._exit(EXIT_HOST_BROKEN)

    def kill(self, ident):
        pid = self.pid_of.get(ident)
        if pid is not None:
            kill_tree(pid)

    def reap(self):
        """Collects the dead, then kills whatever they left behind."""
        ended = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if self.spare is not None and self.spare[0] == pid:
                    self.spare[1].close()
                    self.spare = None
                tollgate_walls.remove_folder(self.folder_of.pop(pid, None))
                ident = self.id_of.pop(pid, None)
                if ident is not None:
                    if self.pid_of.get(ident) == pid:
                        del self.pid_of[ident]
                    # What shares its process group may have outlived it.
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
                    ended.append((ident, pid, status))
        self.kill_orphans()
        for ident, pid, status in ended:
            self.tell({"op": "exited", "id": ident, "pid": pid, **describe(status)})

    def kill_orphans(self):
        """A child that is not a worker was started by one that is dead or has let go of it.

        Its end brings a signal, and so another look, until none is left. Behind walls no worker can
        start one, and /proc may count in another namespace.
        """
        if self.walls:
            return
        for pid in self.children():
            if pid not in self.id_of:
                kill_tree(pid)

    def read_proc(self, name):
        """The words of a file in /proc; none where it cannot be read."""
        try:
            with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)) as file:
                return file.read().split()
        except OSError:
            return []

    def children(self):
        """The pids of our children."""
        return [int(pid) for pid in self.read_proc("thread-self/children")]

    def data_bytes(self):
        """Bytes of writable memory reserved by a new worker, on top of which its function's come."""
        words = self.read_proc("self/statm")
        return int(words[5]) * resource.getpagesize() if words else 64 << 20

    def tell_of(self, ident, pid):
        """Says that a worker runs, with what the server may stop it by."""
        folder = self.folder_of.get(pid)
        message = encode({"op": "spawned", "id": ident, "pid": pid, "folder": folder}).encode()
        descriptor = os.pidfd_open(pid)
        try:
            socket.send_fds(self.control, [message], [descriptor])
        finally:
            os.close(descriptor)

    def tell(self, message):
        with contextlib.suppress(OSError):
            self.control.send(encode(message).encode())

    def end(self):
        """Kills all workers and all that they left, then ends."""
        self.control.close()
        for pid in list(self.id_of):
            kill_tree(pid)
        self.id_of.clear()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
                self.kill_orphans()
        for folder in self.folder_of.values():
            tollgate_walls.remove_folder(folder)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        tollgate_walls.remove_place(self.walls)
        os._exit(0)


def unbuffer():
    """Has C's own streams write at once: what they hold back is lost when a worker crashes."""
    libc = ctypes.CDLL(None)
    for name in ("stdout", "stderr"):
        # 2 is _IONBF.
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, 2, 0)


def move(descriptor, number):
    """Makes `number` the descriptor, if it is not already. Returns `number`."""
    if descriptor != number:
        os.dup2(descriptor, number, inheritable=False)
        os.close(descriptor)
    return number


def move_up(descriptor):
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)
    os.close(descriptor)
    return high


def kill_tree(pid):
    """Kills a process and its group. The pid is a child of ours, so it cannot be another's."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def describe(status):
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"code": os.WEXITSTATUS(status)}


def main(walls):
    # The C library has read what other threads get; this one's may grow further.
    most = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (most, most))
    for name in COMMON:
        __import__(name)
    tollgate_plain.prepare(bool(walls))
    tollgate_noted.lead()
    tollgate_fit.ask_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    gc.disable()
    gc.collect()
    # What exists now lives for ever: the collector of a worker need not touch these pages.
    gc.freeze()
    Zygote(walls).serve()
