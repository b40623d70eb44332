"""Clients that send exact bytes and tell exactly what came back: one at a time, or a thousand from one thread."""
import selectors
import socket
import struct
import time

from http_text import Response, request_bytes
from patience import PATIENCE_S


def connect(address, source=None):
    """`address` is (host, port) or the path of a Unix socket; `source` the host to come from."""
    if isinstance(address, str):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(PATIENCE_S)
        s.connect(address)
        return s
    s = socket.create_connection(address, timeout=PATIENCE_S, source_address=source and (source, 0))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Client:
    """One connection. Requests go out at once; `response()` gives the answers in their order."""

    def __init__(self, address, timeout_s=None, source=None):
        self.sock = connect(address, source)
        self.sock.settimeout(timeout_s or PATIENCE_S)
        self.methods = []
        self.early = b""
        self.current = None

    def send(self, data, methods=()):
        """Raw bytes; `methods` of the requests in them, so that the answers can be read (GET if not told)."""
        self.methods += methods
        self.sock.sendall(data)
        return self

    def request(self, target, method="GET", **kw):
        return self.send(request_bytes(target, method, **kw), [method])

    def ask(self, target, method="GET", **kw):
        """Request and whole answer."""
        return self.request(target, method, **kw).response()

    def begin(self):
        """The answer that is arriving now, as far as it has come."""
        if self.current is None:
            self.current = Response(self.methods.pop(0) if self.methods else "GET")
            self.current.feed(self.early)
            self.early = b""
        return self.current

    def receive(self):
        """One read into the current answer."""
        now = self.begin()
        try:
            data = self.sock.recv(262144)
        except (ConnectionResetError, BrokenPipeError):
            now.reset()
            return
        except socket.timeout:
            raise AssertionError(f"nothing came for too long; so far: {now!r}") from None
        if data:
            now.feed(data)
        else:
            now.eof()

    def head(self):
        """Wait for a final head; gives the answer, whose body may still be on its way."""
        now = self.begin()
        while not now.has_head and not now.done:
            self.receive()
        return now

    def body(self, n):
        """Wait for at least n bytes of the body, and give all that is there."""
        now = self.begin()
        while len(now.body) < n and not now.done:
            self.receive()
        assert len(now.body) >= n, f"wanted {n} bytes, have {now!r}"
        return now.body

    def interim(self):
        """Wait for the next 1xx answer and give its status and fields."""
        now = self.begin()
        seen = len(now.interim)
        while len(now.interim) == seen and not now.done and not now.has_head:
            self.receive()
        assert len(now.interim) > seen, f"no interim answer: {now!r}"
        return now.interim[-1]

    def interims(self, n):
        """Wait for n 1xx answers in all, and give those that came: (status, fields) each."""
        now = self.begin()
        while len(now.interim) < n and not now.has_head and not now.done:
            self.receive()
        assert len(now.interim) >= n, f"wanted {n} interim answers: {now!r}"
        return now.interim

    def response(self):
        """Wait for the end of the answer, whatever end that is."""
        now = self.begin()
        while not now.done:
            self.receive()
        self.early, self.current = now.rest, None
        return now

    def at_end(self):
        """Whether the peer closes now, with nothing more to read. Waits for it."""
        if self.early:
            return False
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        reset(self.sock)

    def close(self):
        self.sock.close()


class Crowd:
    """Many clients in one thread, one request each."""

    def __init__(self, address, n):
        self.selector = selectors.DefaultSelector()
        self.answers = []
        self.socks = []
        for _ in range(n):
            self.socks.append(connect(address))

    def send(self, data, method="GET"):
        """All send `data` (bytes, or a function of the client's number), and begin to listen."""
        for i, sock in enumerate(self.socks):
            sock.sendall(data(i) if callable(data) else data)
            answer = Response(method)
            self.answers.append(answer)
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ, answer)
        return self

    def get(self, target, **kw):
        return self.send(request_bytes(target, **kw))

    def turn(self, timeout_s):
        for key, _ in self.selector.select(timeout_s):
            answer = key.data
            try:
                data = key.fileobj.recv(65536)
            except BlockingIOError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                answer.reset()
                data = b""
            if data:
                answer.feed(data)
            else:
                answer.eof()
            if answer.done:
                self.selector.unregister(key.fileobj)

    def until(self, what, ready, timeout_s=None):
        """Listen until `ready(answer)` holds for every client."""
        deadline = time.monotonic() + (timeout_s or PATIENCE_S * 2)
        waiting = [a for a in self.answers if not ready(a)]
        while waiting:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(waiting)} of {len(self.answers)} clients not {what}: {waiting[:3]}"
            self.turn(min(left, 0.2))
            waiting = [a for a in waiting if not ready(a)]
        return self.answers

    def body(self, n):
        return self.until(f"at {n} body bytes", lambda a: len(a.body) >= n)

    def responses(self, timeout_s=None):
        return self.until("answered", lambda a: a.done, timeout_s)

    def reset(self):
        """All leave with RST: a mere close is a half-close, after which the answer is still wanted."""
        for sock in self.socks:
            reset(sock)

    def close(self):
        for sock in self.socks:
            sock.close()
        self.selector.close()
