"""HTTP for functions: requests go over the worker's socket to the server, which makes them.

A function has no network. `sdk_client.http` is the way out, and the usual libraries are led onto it:
what rests on `http.client` (urllib.request, urllib3, requests, httplib2, botocore), and httpx. None of
this is a wall: the server decides what may be reached.
"""

import base64
import io
import json as json_module
import sys
import threading

from tollgate_imports import when_imported

# What the server sets itself; the libraries send it unasked.
RESERVED = {
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip


class Response:
    """What `sdk_client.http.request` answers."""

    def __init__(self, answer):
        self.status = answer["status"]
        self.reason = answer.get("reason") or ""
        self.url = answer["url"]
        self.body = base64.b64decode(answer["body"])
        # All of them, in order; and by lower-case name, several joined by commas.
        self.header_list = [(name, value) for name, value in answer["headers"]]
        self.headers = {}
        for name, value in self.header_list:
            name = name.lower()
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value

    @property
    def ok(self):
        return 200 <= self.status < 300

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json_module.loads(self.body)

    def __repr__(self):
        return f"<Response {self.status}>"


class Http:
    """`sdk_client.http`."""

    def __init__(self, platform):
        self._platform = platform

    def request(self, method, url, headers=None, body=None, json=None, timeout=None, redirects=5):
        """Makes one request and gives the response, whatever its status.

        `body` is bytes or text, `json` anything that JSON can carry; `timeout` seconds, at most
        what is left of the run; `redirects` how many are followed, at most 5.
        """
        headers = dict(headers or {})
        if json is not None:
            body = json_module.dumps(json)
            if not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = "application/json"
        if isinstance(body, str):
            body = body.encode()
        if body is not None:
            body = base64.b64encode(bytes(body)).decode()
        answer = self._platform.call(
            "http.request", method=method, url=str(url), body=body, timeout=timeout,
            headers={str(name): str(value) for name, value in headers.items()},
            redirects=redirects,
        )  # fmt: skip
        return Response(answer)

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)


# http.client, and what rests on it


class PipeSocket:
    """Stands where `http.client` has its socket: reads the request that is written to it, has the
    server make it, and gives back the response.

    `eager` sends a request when it is complete, so that a refusal comes where urllib.request turns
    it into its own error; else it is sent when the response is asked for, which is when urllib3 has
    set the timeout of the response.
    """

    def __init__(self, http, refused, base, timeout, eager):
        self.http = http
        self.refused = refused
        self.base = base
        self.timeout = timeout
        self.eager = eager
        self.written = bytearray()
        self.head = None
        self.response = None
        self.late = None

    def sendall(self, data, *_):
        if self.response is not None or self.late is not None:
            raise ConnectionError("one connection carries one request")
        self.written += data
        if self.head is None:
            self.find_head()
        if self.eager:
            self.exchange_if_complete()

    send = sendall

    def exchange_if_complete(self):
        body = None if self.head is None else self.body()
        if body is not None:
            self.exchange(body)

    def find_head(self):
        head, end, rest = bytes(self.written).partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ", 2)
        self.fields = {}
        self.head = []
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip(), value.strip()
            self.fields[name.lower()] = value
            self.head.append((name, value))
        self.written = bytearray(rest)

    def body(self):
        """The whole body, or None while some of it is missing."""
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            return unchunked(bytes(self.written))
        length = int(self.fields.get("content-length") or 0)
        return bytes(self.written) if len(self.written) >= length else None

    def exchange(self, body):
        if not self.target.startswith("/"):
            raise PermissionError("a function reaches no proxy; leave it out")
        headers = joined(self.head)
        timeout = self.timeout if isinstance(self.timeout, (int, float)) else None
        try:
            self.response = self.http.request(
                self.method, self.base + self.target, headers, body or None,
                timeout=timeout, redirects=0,
            )  # fmt: skip
        except self.refused as error:
            failure = failure_of(error)
            if not isinstance(failure, TimeoutError):
                raise failure from error
            # The libraries expect a timeout where they wait for the response.
            self.late = failure

    def makefile(self, mode="r", *_, **__):
        if self.response is None and self.late is None:
            self.exchange_if_complete()
        if self.late is not None:
            raise self.late
        if self.response is None:
            raise ConnectionError("the request was not complete")
        return io.BufferedReader(io.BytesIO(self.raw()))

    def raw(self):
        """The response as it would come over a connection that then ends."""
        response = self.response
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        length = len(response.body)
        for name, value in response.header_list:
            if name.lower() == "content-length" and self.method == "HEAD":
                length = value
            if name.lower() not in RESERVED:
                lines.append(f"{name}: {value}")
        lines += [f"Content-Length: {length}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + response.body

    def settimeout(self, timeout):
        self.timeout = timeout

    def gettimeout(self):
        return self.timeout

    def close(self):
        pass

    def shutdown(self, *_):
        pass

    def setsockopt(self, *_):
        pass


def joined(head):
    """Header fields as one text for each name; what the server sets itself is left out."""
    fields, names = {}, {}
    for name, value in head:
        lower = name.lower()
        if lower in RESERVED:
            continue
        if lower in names:
            between = "; " if lower == "cookie" else ", "
            fields[names[lower]] += between + value
        else:
            names[lower] = name
            fields[name] = value
    return fields


def failure_of(error):
    """A refusal of the server as the error that libraries expect of a socket."""
    if error.status == 403:
        return PermissionError(error.message)
    if error.status == 504:
        return TimeoutError(error.message)
    return ConnectionError(error.message)


def unchunked(data):
    """The body behind a chunked coding, or None while some of it is missing."""
    body, at = bytearray(), 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at:end].split(b";")[0], 16)
        if len(data) < end + 4 + size:
            return None
        if size == 0:
            return bytes(body)
        body += data[end + 2 : end + 2 + size]
        at = end + 4 + size


def base_of(scheme, host, port, usual):
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme}://{host}" if port in (None, usual) else f"{scheme}://{host}:{port}"


def lead(http, refused, module, eager):
    """Makes connections of this module go through the server."""

    def connector(scheme, usual):
        def connect(self):
            if getattr(self, "_tunnel_host", None):
                raise PermissionError("a function reaches no proxy; leave it out")
            base = base_of(scheme, self.host, self.port, usual)
            self.sock = PipeSocket(http, refused, base, self.timeout, eager)
            # What urllib3 asks: the server has verified it.
            self.is_verified = True

        return connect

    module.HTTPConnection.connect = connector("http", 80)
    module.HTTPSConnection.connect = connector("https", 443)


def patch_httplib2(module, http, refused):
    """It has connections of its own, which take their proxy from the environment."""

    def connector(scheme, usual):
        def connect(self):
            base = base_of(scheme, self.host, self.port, usual)
            timeout = self.timeout if isinstance(self.timeout, (int, float)) else None
            self.sock = PipeSocket(http, refused, base, timeout, eager=True)

        return connect

    module.HTTPConnectionWithTimeout.connect = connector("http", 80)
    module.HTTPSConnectionWithTimeout.connect = connector("https", 443)


def patch_botocore(module):
    """It would wait for `100 Continue`, which the server's own client does where it is needed."""
    request = module.AWSConnection.request

    def without_expect(self, method, url, body=None, headers=None, *args, **kwargs):
        kept = {name: value for name, value in (headers or {}).items() if name.lower() != "expect"}
        return request(self, method, url, body, kept, *args, **kwargs)

    module.AWSConnection.request = without_expect


def patch_httpx(httpx, http, refused):
    """httpx, and what has its interface."""

    def exchange(request, body):
        wanted = request.extensions.get("timeout") or {}
        try:
            answer = http.request(
                request.method, request.url, joined(request.headers.multi_items()), body or None,
                timeout=wanted.get("read"), redirects=0,
            )  # fmt: skip
        except refused as error:
            kind = httpx.ReadTimeout if error.status == 504 else httpx.ConnectError
            raise kind(error.message, request=request) from error
        head = [pair for pair in answer.header_list if pair[0].lower() not in RESERVED]
        extensions = {"http_version": b"HTTP/1.1"}
        if answer.reason:
            extensions["reason_phrase"] = answer.reason.encode("latin-1", "replace")
        stream = httpx.ByteStream(answer.body)
        return httpx.Response(answer.status, headers=head, stream=stream, extensions=extensions)

    def handle_request(self, request):
        return exchange(request, request.read())

    async def handle_async_request(self, request):
        body = await request.aread()
        if "asyncio" in sys.modules:
            import asyncio

            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return exchange(request, body)
            return await aside(loop, exchange, request, body)
        return exchange(request, body)

    httpx.HTTPTransport.handle_request = handle_request
    httpx.AsyncHTTPTransport.handle_async_request = handle_async_request


async def aside(loop, work, *args):
    """Does what blocks in a thread of its own, which ends with it: the loop's pool has few."""
    future = loop.create_future()

    def settle(give, outcome):
        if not future.done():
            give(outcome)

    def run():
        try:
            outcome, give = work(*args), future.set_result
        except BaseException as error:
            outcome, give = error, future.set_exception
        try:
            loop.call_soon_threadsafe(settle, give, outcome)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits.
            return

    threading.Thread(target=run, name="tollgate-request", daemon=True).start()
    return await future


def install(http, refused):
    """Leads the libraries through `http`; `refused` is what it raises."""
    when_imported("http.client", lambda module: lead(http, refused, module, eager=True))
    when_imported("urllib3.connection", lambda module: lead(http, refused, module, eager=False))
    when_imported("httplib2", lambda module: patch_httplib2(module, http, refused))
    when_imported("botocore.awsrequest", patch_botocore)
    for name in ("httpx", "httpx2"):
        when_imported(name, lambda module: patch_httpx(module, http, refused))
