"""Tries to reach listeners on the same machine, in every way there is."""

import asyncio
import ctypes
import os
import platform
import socket
import urllib.request

LIBC = ctypes.CDLL(None, use_errno=True)
SOCKET = 41 if platform.machine() == "x86_64" else 198
SOCKETPAIR = 53 if platform.machine() == "x86_64" else 199
IPPROTO_MPTCP = 262


def stream(family, address, protocol=0):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as one:
        one.connect(address)
        one.sendall(b"canary")


def datagram(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.sendto(b"canary", address)


def through_pair(kind, address):
    """A socket that one may have, pointed at an address."""
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other:
        for way in (
            lambda: one.sendto(b"canary", address),
            lambda: one.sendmsg([b"canary"], [], 0, address),
            lambda: (one.connect(address), one.sendall(b"canary")),
        ):
            try:
                way()
            except OSError as error:
                refused = error
            else:
                return "sent"
    raise refused


def raw_call(number, *args):
    if LIBC.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "call")


def pass_on(address):
    """A descriptor sent over a pair needs sendmsg, by which an address could be given."""
    one, other = socket.socketpair()
    with one, other:
        socket.send_fds(one, [b"x"], [0])


def main(params):
    local = "127.0.0.1"
    path = os.path.join(params["folder"], "stream")
    datagrams = os.path.join(params["folder"], "datagrams")
    hidden = "\0" + params["abstract"]
    inet, unix = socket.AF_INET, socket.AF_UNIX
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    ways = {
        "tcp": lambda: stream(inet, (local, params["tcp"])),
        "tcp without a name": lambda: socket.create_connection((local, params["tcp"])),
        "tcp fast open": lambda: socket.socket().sendto(b"x", 0x20000000, (local, params["tcp"])),
        "mptcp": lambda: stream(inet, (local, params["mptcp"] or 1), IPPROTO_MPTCP),
        "udp": lambda: datagram(inet, (local, params["udp"])),
        "udp lite": lambda: socket.socket(inet, socket.SOCK_DGRAM, 136),
        "ipv6": lambda: stream(socket.AF_INET6, ("::ffff:127.0.0.1", params["tcp"], 0, 0)),
        "unix path": lambda: stream(unix, path),
        "unix datagrams": lambda: datagram(unix, datagrams),
        "unix abstract": lambda: stream(unix, hidden),
        "raw": lambda: socket.socket(inet, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "ping": lambda: socket.socket(inet, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
        "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        "alg": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
        "dns": lambda: socket.getaddrinfo("example.com", 80),
        "http": lambda: urllib.request.urlopen(f"http://{local}:{params['tcp']}/"),
        "metadata": lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=1),
        "asyncio": lambda: asyncio.run(asyncio.open_connection(local, params["tcp"])),
        "listening": lambda: socket.create_server((local, 0)),
        "a descriptor": lambda: pass_on(path),
        "a pair of another family": lambda: raw_call(SOCKETPAIR, 30, 1, 0, (ctypes.c_int * 2)()),
    }
    for family in range(46):
        ways[f"family {family}"] = lambda family=family: raw_call(SOCKET, family, 1, 0)
    for kind in kinds:
        for address in (path, datagrams, hidden):
            name = f"pair {int(kind)} to {address[-10:]!r}"
            ways[name] = lambda kind=kind, address=address: through_pair(kind, address)
    seen = {}
    for name, way in ways.items():
        try:
            seen[name] = f"done: {way()}"
        except OSError as error:
            seen[name] = f"refused: {error}"
    return seen
