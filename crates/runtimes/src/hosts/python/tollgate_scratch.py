"""The scratch folder: what a call made there is removed, what loading left there has to be there still."""

import os
import stat
from os import close, fchmod, fstat, fstatvfs, listdir, rmdir, unlink, utime
from os import chmod as change_mode
from os import lstat as look_at
from os import open as open_file

# The part of it that may be in use before a call: by what loading left there and calls made larger.
PART = 2
# The largest that can be one worker's own.
OWN_BYTES = 64 << 20
# Folders within each other that are looked at; a worker whose calls nest more is replaced.
DEEPEST = 64
# Of what loading left there, so much is looked for after calls.
ENTRIES_KEPT = 1000
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch:
    """One worker's scratch folder, and what was in it after loading."""

    def __init__(self, home):
        self.folder = open_file(home, FOLDER)
        # A file system of its own tells cheapest what was written in folders inside. Elsewhere neither
        # the function nor the host may change modes and times.
        self.own = is_own(fstatvfs(self.folder))
        self.empty = True

    def close(self):
        close(self.folder)

    def remember(self):
        status = fstat(self.folder)
        self.mode = stat.S_IMODE(status.st_mode)
        # The kernel's clock is coarse, and two changes may get the same time. It never gives this one.
        self.time = status.st_mtime_ns + 1
        self.names = set(listdir(self.folder))
        self.entries = {}
        for name in self.names:
            self.add_entries(self.folder, name, name)
        self.settle()

    def add_entries(self, around, name, path, depth=0):
        status = look_at(name, dir_fd=around)
        self.entries[path] = status.st_mode
        if not stat.S_ISDIR(status.st_mode) or depth == DEEPEST or len(self.entries) > ENTRIES_KEPT:
            return
        try:
            folder = open_file(name, FOLDER, dir_fd=around)
        except OSError:
            # Closed to its owner.
            return
        try:
            for inner in listdir(folder):
                if len(self.entries) > ENTRIES_KEPT:
                    return
                self.add_entries(folder, inner, os.path.join(path, inner), depth + 1)
        finally:
            close(folder)

    def settle(self):
        if self.own:
            utime(self.folder, ns=(self.time, self.time))
        self.empty = not listdir(self.folder)
        self.seen = self.stamp()

    def differs(self):
        return self.stamp() != self.seen

    def stamp(self):
        """Differs when something was changed, except by what is noted."""
        if self.own:
            space = fstatvfs(self.folder)
            if self.empty:
                return space
            # What takes the place of another file may need as much room.
            return space.f_bfree, space.f_ffree, fstat(self.folder).st_mtime_ns
        return fstat(self.folder).st_mtime_ns, listdir(self.folder)

    def left(self, held):
        """Puts it right, except for the files in `held`, which are open still. Why that cannot be
        done; None if it was."""
        try:
            if self.own:
                fchmod(self.folder, self.mode)
            for name in listdir(self.folder):
                if name not in self.names:
                    self.remove(self.folder, name, held)
            for path, mode in self.entries.items():
                if look_at(path, dir_fd=self.folder).st_mode != mode:
                    return "it changed the mode of files that loading left in its scratch folder"
        except FileNotFoundError:
            return "it removed files that loading left in its scratch folder"
        except OSError as error:
            return f"its scratch folder cannot be cleared: {error.strerror}"
        self.settle()
        return self.overfull()

    def remove(self, around, name, held, depth=0):
        """Removes a file, or a folder with what is in it. Whether something of it is held."""
        status = look_at(name, dir_fd=around)
        if (status.st_dev, status.st_ino) in held:
            return True
        if not stat.S_ISDIR(status.st_mode):
            unlink(name, dir_fd=around)
            return False
        if depth == DEEPEST:
            raise OSError(0, "folders are nested too deep")
        if self.own:
            # Its owner may have closed it to itself.
            change_mode(name, 0o700, dir_fd=around)
        folder = open_file(name, FOLDER, dir_fd=around)
        try:
            kept = [inner for inner in listdir(folder) if self.remove(folder, inner, held, depth + 1)]
        finally:
            close(folder)
        if not kept:
            rmdir(name, dir_fd=around)
        return bool(kept)

    def overfull(self):
        if not self.own:
            return None
        space = fstatvfs(self.folder)
        if (space.f_blocks - space.f_bfree) * PART > space.f_blocks:
            return "its scratch folder is more than half full"
        if (space.f_files - space.f_ffree) * PART > space.f_files:
            return "its scratch folder holds too many files"
        return None


def is_own(space):
    """Whether a file system of this size is one worker's own."""
    return 0 < space.f_blocks * space.f_frsize <= OWN_BYTES
