"""Makes a system call the way 32-bit programs do, in machine code of its own."""

import ctypes
import mmap


def main(params):
    # mov eax, NUMBER; xor ebx, ebx; xor ecx, ecx; int 0x80; ret, with rbx kept
    code = b"\x53\xb8" + params["number"].to_bytes(4, "little") + b"\x31\xdb\x31\xc9\xcd\x80\x5b\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
