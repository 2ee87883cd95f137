"""What functions commonly use, each with a look at its outcome."""

import asyncio
import concurrent.futures
import csv
import datetime
import decimal
import glob
import gzip
import hashlib
import json
import logging
import mmap
import os
import pathlib
import queue
import random
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import ssl
import tempfile
import threading
import time
import urllib.request
import uuid
import zipfile
import zoneinfo


async def wait():
    await asyncio.sleep(0.001)
    return await asyncio.to_thread(lambda: 7)


def files():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "one"
        path.write_text("text")
        shutil.copyfile(path, folder + "/two")
        os.rename(folder + "/two", folder + "/three")
        os.symlink("one", folder + "/link")
        os.link(path, folder + "/hard")
        assert len(glob.glob(folder + "/*")) == 4 and path.stat().st_size == 4
        with zipfile.ZipFile(folder + "/z.zip", "w") as archive:
            archive.write(path)
        with gzip.open(folder + "/g", "wt") as packed:
            packed.write("x")
        base = sqlite3.connect(folder + "/db")
        base.execute("create table t(x)")
        base.execute("insert into t values (1)")
        base.commit()
        assert base.execute("select x from t").fetchall() == [(1,)]
        base.close()
        with open(folder + "/map", "w+b") as file:
            file.truncate(100)
            os.fsync(file.fileno())
            mmap.mmap(file.fileno(), 0).close()
        with open(folder + "/csv", "w", newline="") as file:
            csv.writer(file).writerow([1, 2])
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    with tempfile.NamedTemporaryFile("w") as file:
        assert file.name.startswith(os.environ["TMPDIR"])
    assert os.path.expanduser("~") == os.environ["HOME"] == os.getcwd()
    shutil.disk_usage(".")


def threads():
    waiting = queue.Queue()
    one = threading.Thread(target=waiting.put, args=(1,))
    one.start()
    one.join()
    assert waiting.get() == 1
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(abs, range(9))) == list(range(9))
    timer = threading.Timer(0.001, waiting.put, args=(2,))
    timer.start()
    assert waiting.get(timeout=5) == 2


def rest():
    hashlib.scrypt(b"a", salt=b"b", n=16, r=1, p=1)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10)
    secrets.token_hex()
    random.SystemRandom().random()
    uuid.uuid4()
    zoneinfo.ZoneInfo("UTC")
    datetime.datetime.now().astimezone()
    decimal.Decimal("1.5").sqrt()
    ssl.create_default_context()
    one, other = socket.socketpair()
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    one.close()
    other.close()
    assert os.cpu_count() >= 1 and len(os.sched_getaffinity(0)) >= 1
    time.sleep(0.001)
    os.times()
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while not seen:
        time.sleep(0.001)
    logging.getLogger("x").info("text")
    assert re.match("a+", "aa") and json.loads("[1]") == [1]
    assert urllib.request.Request("http://example.com").host == "example.com"


def main(params):
    assert asyncio.run(wait()) == 7
    files()
    threads()
    rest()
    return "all done"
