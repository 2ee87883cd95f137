"""Environment variables that differ from call to call.

The C library keeps each value that it is ever given (`setenv`), so a worker would grow with each
call. What these variables hold is memory of the host instead, which is written over.
"""

import ctypes

from tollgate_noted import put_variable

# Longer ones are left to the C library.
ROOM = 512
put_memory = ctypes.CDLL(None).putenv


class Variable:
    """One variable, for this process and for `os.environ`. Setting it is noted nowhere."""

    __slots__ = ("key", "start", "memory", "placed")

    def __init__(self, name):
        self.key = name.encode()
        self.start = self.key + b"="
        # And the end of the text, which a value of full length leaves alone.
        self.memory = ctypes.create_string_buffer(ROOM + 1)
        # Whether the memory is part of the environment.
        self.placed = False

    def put(self, text, environ, known):
        """Sets it here, and in what `os.environ` is made of and is compared with."""
        key, value = self.key, text.encode("utf-8", "surrogateescape")
        environ[key] = known[key] = value
        text = self.start + value
        if len(text) > ROOM:
            put_variable(key, value)
            self.placed = False
            return
        self.memory.value = text
        if not self.placed:
            put_memory(self.memory)
            self.placed = True
