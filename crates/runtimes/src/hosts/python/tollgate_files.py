"""The files of a version that has more than one, in the worker's own scratch folder.

The server has checked every path. What is written here is this worker's alone, and read-only.
"""

import contextlib
import os
import tempfile

FOLDER = "function"


def unpack(encoded):
    """Writes the files, and gives the folder around them."""
    root = os.path.join(os.getcwd(), FOLDER)
    try:
        os.mkdir(root)
    except FileExistsError:
        # Without walls all workers have one folder.
        root = tempfile.mkdtemp(prefix=f"{FOLDER}-", dir=os.getcwd())
    folders = {root}
    for path, content in files_of(memoryview(encoded)):
        around = os.path.join(root, os.path.dirname(path)).rstrip("/")
        if around not in folders:
            os.makedirs(around, exist_ok=True)
            while around not in folders:
                folders.add(around)
                around = os.path.dirname(around)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(os.path.join(root, path), flags, 0o444), "wb") as file:
            file.write(content)
    for folder in folders:
        # Some walls let nobody change a mode.
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o555)
    return root


def files_of(encoded):
    """Path and content of each file: both with their length in four bytes before it."""
    while encoded:
        path, encoded = part_of(encoded)
        content, encoded = part_of(encoded)
        yield str(path, "utf-8"), content


def part_of(encoded):
    end = 4 + int.from_bytes(encoded[:4], "big")
    return encoded[4:end], encoded[end:]
