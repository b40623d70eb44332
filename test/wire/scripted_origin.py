"""An origin that does what the test says, when the test says it.

A request to a target with an answer set (`origin.on`) is answered at once; any other is held until the test takes it with
`origin.expect(target)` and sends head, pieces, an end, or a reset, at exactly the byte it wants."""
import ctypes
import socket
import struct
import threading
import time
from email.utils import formatdate

from http_text import BodyReader, body_kind, chunk, parse_head
from patience import PATIENCE_S, until

LIBC = ctypes.CDLL(None, use_errno=True)
NOWHERE = struct.pack("H14s", socket.AF_UNSPEC, b"")


def head_bytes(status, fields=(), reason="Said", date=True, version="1.1"):
    lines = [f"HTTP/{version} {status} {reason}"]
    pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
    if date and not any(name.lower() == "date" for name, _ in pairs):
        pairs.insert(0, ("Date", formatdate(usegmt=True)))
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Reply:
    """An answer for automatic use."""

    def __init__(self, body=b"", status=200, headers=(), chunked=False, **fields):
        self.body = body.encode() if isinstance(body, str) else body
        self.status = status
        self.chunked = chunked
        self.fields = [(n.replace("_", "-"), str(v)) for n, v in fields.items()] + list(headers)


def cacheable(body=b"hello", seconds=60, **fields):
    return Reply(body, Cache_Control=f"max-age={seconds}", **fields)


class Request:
    """One request that came, and the answer that the test gives to it."""

    def __init__(self, connection, raw):
        self.connection = connection
        self.sock = connection.sock
        self.raw = raw
        start, self.fields = parse_head(raw)
        self.method, self.target, self.version = start.split(" ")
        self.done = threading.Event()
        self.keep = True
        kind, length = body_kind(self.fields)
        self.reader = BodyReader(kind or "none", length)
        self.reader.feed(connection.early)
        connection.early = b""

    def get(self, name, default=None):
        return self.fields.get(name, default)

    def __contains__(self, name):
        return name in self.fields

    # what the request carries

    def read_body(self, n=None):
        """Its content, at least n bytes of it, or all; b"" at once when it has none."""
        while not self.reader.done and (n is None or len(self.reader.body) < n):
            data = self.sock.recv(65536)
            assert data, f"request body ended early after {len(self.reader.body)} bytes"
            self.reader.feed(data)
        return bytes(self.reader.body)

    def content_ends(self):
        """Read until the content is complete (True), or its connection is gone (False)."""
        try:
            while not self.reader.done:
                data = self.sock.recv(65536)
                if not data:
                    return False
                self.reader.feed(data)
        except OSError:
            return False
        return True

    # what the origin says

    def send(self, data):
        """Exact bytes."""
        self.sock.sendall(data)
        return self

    def send_head(self, status=200, fields=(), length=None, chunked=False, **kw):
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
        if length is not None:
            pairs.append(("Content-Length", length))
        if chunked:
            pairs.append(("Transfer-Encoding", "chunked"))
        return self.send(head_bytes(status, pairs, **kw))

    def chunk(self, data):
        return self.send(chunk(data))

    def last_chunk(self):
        self.send(b"0\r\n\r\n")
        self.finish()

    def respond(self, status=200, fields=(), body=b"", **kw):
        """A whole answer with its length; the connection stays."""
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
        if status not in (204, 304):
            pairs.append(("Content-Length", len(body)))
        data = head_bytes(status, pairs, **kw)
        self.send(data + (b"" if self.method == "HEAD" or status in (204, 304) else body))
        self.finish()

    def reply(self, answer):
        if not answer.chunked:
            return self.respond(answer.status, answer.fields, answer.body)
        self.send_head(answer.status, answer.fields, chunked=True)
        if answer.body and self.method != "HEAD":
            self.chunk(answer.body)
        if self.method == "HEAD":
            return self.finish()
        return self.last_chunk()

    # how it ends

    def finish(self):
        """The answer is complete; the connection takes the next request."""
        self.done.set()

    def close(self):
        """A proper end of the connection, wherever the answer stands."""
        self.keep = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.done.set()

    def reset(self):
        """RST, wherever the answer stands."""
        self.keep = False
        self.connection.abort()
        self.done.set()

    def wait_closed(self, timeout_s=None):
        """Wait until the shield has let go of the connection; what it sends before that does not count."""
        deadline = time.monotonic() + (timeout_s or PATIENCE_S)
        self.sock.settimeout(0.2)
        while True:
            try:
                if self.sock.recv(65536) == b"":
                    break
            except socket.timeout:
                assert time.monotonic() < deadline, "the shield keeps the connection to the origin"
            except OSError:
                break
        self.close()

    def __repr__(self):
        return f"<{self.method} {self.target}>"


class Connection(threading.Thread):
    def __init__(self, origin, sock):
        super().__init__(daemon=True)
        self.origin = origin
        self.sock = sock
        self.early = b""
        self.served = 0

    def run(self):
        try:
            while self.serve_one():
                pass
        except OSError:
            pass
        finally:
            self.origin.forget(self)
            self.sock.close()

    def serve_one(self):
        raw = self.read_head()
        if raw is None:
            return False
        request = Request(self, raw)
        self.served += 1
        self.origin.arrived(request)
        request.done.wait()
        if request.keep and not request.reader.done:
            request.read_body()
        self.early = bytes(request.reader.buffer)
        return request.keep

    def read_head(self):
        data = self.early
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            if not more:
                if data:
                    self.origin.problems.append(f"request head cut short: {data!r}")
                return None
            data += more
        end = data.index(b"\r\n\r\n") + 4
        self.early = data[end:]
        return data[:end]

    def abort(self):
        """RST at once, although another thread may sit in recv: connecting to nowhere dissolves the connection."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            LIBC.connect(self.sock.fileno(), NOWHERE, len(NOWHERE))
        except OSError:
            pass

    def drop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Origin:
    """Listens on a loopback port (or a Unix socket) from its making until close()."""

    def __init__(self, host="127.0.0.1", port=0):
        self.lock = threading.Lock()
        self.held = []
        self.news = threading.Condition(self.lock)
        self.answers = {}
        self.default = None
        self.seen = []
        self.connections = 0
        self.open = set()
        self.problems = []
        self.listener = socket.create_server((host, port), backlog=1024,
                                             family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            with self.news:
                self.connections += 1
                self.open.add(connection)
                self.news.notify_all()
            connection.start()

    def forget(self, connection):
        with self.news:
            self.open.discard(connection)
            self.news.notify_all()

    def arrived(self, request):
        with self.news:
            self.seen.append(request)
            answer = self.answers.get(request.target, self.default)
            if answer is None:
                self.held.append(request)
            self.news.notify_all()
        if answer is not None:
            if not request.content_ends():
                request.close()
                return
            if callable(answer):
                answer = answer(request)
            if answer is not None:
                request.reply(answer)

    # what the test does

    def on(self, target, answer):
        """Answer `target` with a Reply, or with what a function makes of the Request (None: it answered itself)."""
        with self.lock:
            self.answers[target] = answer
        return self

    def on_all(self, answer):
        with self.lock:
            self.default = answer
        return self

    def hold(self, target):
        """From now on the test answers `target` itself."""
        with self.lock:
            self.answers.pop(target, None)

    def expect(self, target, method=None, timeout_s=None):
        """The next held request for `target`, waiting for it if need be."""
        deadline = time.monotonic() + (timeout_s or PATIENCE_S)
        with self.news:
            while True:
                for request in self.held:
                    if request.target == target and method in (None, request.method):
                        self.held.remove(request)
                        return request
                left = deadline - time.monotonic()
                assert left > 0, f"no request for {target}; held: {self.held}, seen: {self.seen[-10:]}"
                self.news.wait(left)

    def requests(self, target=None, method=None):
        """All requests so far, in their order."""
        with self.lock:
            return [r for r in self.seen if target in (None, r.target) and method in (None, r.method)]

    def count(self, target=None, method=None):
        return len(self.requests(target, method))

    def wait_count(self, n, target=None):
        until(f"the origin has {n} requests for {target}", lambda: self.count(target) >= n)
        assert self.count(target) == n, f"{self.count(target)} requests for {target}, not {n}"

    def close(self):
        """Stop listening (connections are refused from now on) and end all connections."""
        self.refuse()
        with self.lock:
            connections, seen = list(self.open), list(self.seen)
        for connection in connections:
            connection.drop()
        for request in seen:
            request.keep = False
            request.done.set()

    def refuse(self):
        """Refuse new connections; those that are open stay."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.acceptor.join(PATIENCE_S)

    def drop_idle(self):
        """Close all open connections, as an origin does with idle ones."""
        with self.lock:
            connections = list(self.open)
        for connection in connections:
            connection.drop()


class DeadPort:
    """A loopback port that refuses connections and that nobody else can take."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self):
        self.sock.close()
