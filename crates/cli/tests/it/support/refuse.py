"""Becomes a program to which the kernel refuses namespaces and mounts, as in an ordinary container.

Not strace, which would make the whole server slow.
"""

import ctypes
import os
import platform
import sys

NUMBERS = {"x86_64": {"unshare": 272, "mount": 165}, "aarch64": {"unshare": 97, "mount": 40}}
EPERM = 1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def instruction(code, true, false, value):
    order = sys.byteorder
    return code.to_bytes(2, order) + bytes([true, false]) + value.to_bytes(4, order)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main():
    refused = list(NUMBERS[platform.machine()].values())
    code = instruction(LOAD, 0, 0, 0)
    for place, number in enumerate(refused):
        code += instruction(EQUAL, len(refused) - place, 0, number)
    code += instruction(RETURN, 0, 0, ALLOW)
    code += instruction(RETURN, 0, 0, ERRNO | EPERM)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    program = Program(len(code) // 8, code)
    assert prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()
    os.execv(sys.argv[1], sys.argv[1:])


main()
