"""Origins that mean harm, byte by byte (RFC 9112, RFC 9110): what each client sees, that nothing broken is kept, that the
connection goes or rightly stays, and that the next client's answer is its own. One shield lives through all of it."""
import signal

import pytest

from patience import until
from scripted_origin import Reply, cacheable

OK = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
FOUR = b"Content-Length: 4\r\n\r\nbody"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
EVIL = OK + b"Content-Length: 4\r\n\r\nevil"
SETS = {"flight.error_ttl": "0", "origins.default.down_after": "0", "http.max_chunk_ext": "64", "http.max_trailers": "256",
        "client.max_head": "8k", "client.max_fields": "32"}


class Rig:
    def __init__(self, lab):
        self.lab = lab
        self.origin = lab.origin()
        self.shield = lab.shield(self.origin, sets=SETS)
        self.descriptors = self.shield.descriptors()
        self.n = 0

    def target(self):
        self.n += 1
        return f"/{self.n}"

    def ask(self, target, method="GET", **kw):
        return self.lab.ask(self.shield, target, method, **kw)

    def play(self, raw, end="open", method="GET", **kw):
        """A request to a target of its own, which the origin answers with these bytes: (target, answer)."""
        target = self.target()
        self.origin.on(target, answering(raw, end))
        return target, self.ask(target, method, **kw)

    def connection(self, target):
        """What the first request for it came on."""
        return self.origin.requests(target)[0].connection

    def is_let_go(self, target):
        until(f"the connection of {target} is closed", lambda: self.connection(target) not in self.origin.open)

    def is_not_kept(self, target):
        """The next client gets an answer that was made for it, by the origin."""
        self.origin.on(target, cacheable(f"whole {target}"))
        answer = self.ask(target)
        assert (answer.status, answer.body, answer.end) == (200, f"whole {target}".encode(), "clean")
        assert "hit" not in answer.cache

    def is_well(self):
        assert self.shield.is_alive()
        until("descriptors are as before", lambda: self.shield.descriptors() <= self.descriptors + 4)


def answering(raw, end):
    """The origin's part: these bytes, and then "open" (it waits for the next request), "close" or "reset"."""
    def answer(request):
        request.send(raw)
        if end == "open":
            request.finish()
        else:
            getattr(request, end)()
    return answer


@pytest.fixture(scope="module", name="shared_rig")
def make_rig(module_lab):
    return Rig(module_lab)


@pytest.fixture
def rig(shared_rig):
    yield shared_rig
    shared_rig.is_well()


def named(cases):
    """Parameters with the bytes as their names."""
    def name(case):
        raw = case if isinstance(case, bytes) else case[0]
        return raw[:70].decode("latin-1").replace("\r\n", "|").encode("unicode_escape").decode()
    return [pytest.param(case, id=name(case)) for case in cases]


def head(line=b"HTTP/1.1 200 OK", *fields):
    return b"\r\n".join([line, b"Cache-Control: max-age=60", *fields, b"Content-Length: 4", b"", b"body"])


# heads that are no answer

STATUS_LINES = [head(line) for line in [
    b"HTTP/0.9 200 OK", b"HTTP/2.0 200 OK", b"HTTP/3.0 200 OK", b"HTTP/2 200 OK", b"HTTP/1 200 OK", b"HTTP/11 200 OK",
    b"HTTP/1.10 200 OK", b"HTTP/01.1 200 OK", b"HTTP/1.1.1 200 OK", b"HTTP/-1.1 200 OK", b"HTTP/1,1 200 OK", b"HTTP/1.x 200 OK",
    b"http/1.1 200 OK", b"Http/1.1 200 OK", b"HTTPS/1.1 200 OK", b"HTTP 200 OK", b"ICY 200 OK", b"SPDY/3 200 OK",
    b"HTTP/1.1 99 Low", b"HTTP/1.1 099 Low", b"HTTP/1.1 000 Nil", b"HTTP/1.1 600 High", b"HTTP/1.1 999 High",
    b"HTTP/1.1 1000 Long", b"HTTP/1.1 2000 Long", b"HTTP/1.1 20 Short", b"HTTP/1.1 2 Short", b"HTTP/1.1 abc Word",
    b"HTTP/1.1 -200 OK", b"HTTP/1.1 +200 OK", b"HTTP/1.1 2OO OK", b"HTTP/1.1 0x1 OK", b"HTTP/1.1 200.1 OK", b"HTTP/1.1 200,OK",
    b"HTTP/1.1 ", b"HTTP/1.1", b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1200 OK",
    b" HTTP/1.1 200 OK", b"\tHTTP/1.1 200 OK", b"X HTTP/1.1 200 OK", b"\xef\xbb\xbfHTTP/1.1 200 OK", b"200 OK", b"OK",
    b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 O\x01K", b"HTTP/1.1 200 O\x7fK", b"HTTP/1.1 2\x0000 OK",
    b"GET / HTTP/1.1", b"<html>", b"", b"\r\nHTTP/1.1 200 OK", b"\r\n\r\nHTTP/1.1 200 OK", b"\nHTTP/1.1 200 OK",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-OpenSSH_9.6", b"\0\0\x12\x04\0\0\0\0\0",
]]

FIELD_LINES = [head(b"HTTP/1.1 200 OK", line) for line in [
    b"X : y", b"X\t: y", b"Content-Length : 4", b"Transfer-Encoding : chunked", b"X", b"X y", b": y", b" X: y", b"\tX: y",
    b"X: y\r\n folded", b"X: y\r\n\tfolded", b"X: y\r\n ", b"Bad Name: y", b"B@d: y", b"B(d: y", b"B\"d: y", b"B/d: y", b"B[d]: y",
    b"B\xe4d: y", b"B\0d: y", b"B\x7fd: y", b"{}: y", b"X: a\0b", b"X: a\rb", b"X: a\r", b"\rX: a", b"X: a\x01b", b"X: a\x08b",
    b"X: a\x0bb", b"X: a\x0cb", b"X: a\x1bb", b"X: a\x7fb", b"X: a\nY: b", b"X: a\n Y: b", b"X: a\r\r", b"X: a\rSet-Cookie: id=1",
    b"=: y", b"HTTP/1.1 200 OK", b"GET /x HTTP/1.1", b"\0", b"\x0b", b"X\r: y", b"X\n: y",
]]

LENGTHS = [OK + lines + b"\r\n\r\nbody" for lines in [
    b"Content-Length: 4\r\nContent-Length: 4", b"Content-Length: 4\r\nContent-Length: 5", b"Content-Length: 4, 4",
    b"Content-Length: 4, 5", b"Content-Length: 4,", b"Content-Length: ,4", b"Content-Length: ", b"Content-Length: -1",
    b"Content-Length: -4", b"Content-Length: +4", b"Content-Length: 4.0", b"Content-Length: 4e0", b"Content-Length: 0x4",
    b"Content-Length: four", b"Content-Length: 4 4", b"Content-Length: 4;q=1", b"Content-Length: \"4\"", b"Content-Length: 4a",
    b"Content-Length: 9223372036854775808", b"Content-Length: 18446744073709551616", b"Content-Length: 18446744073709551620",
    b"Content-Length: 340282366920938463463374607431768211460", b"Content-Length: " + b"9" * 400, b"Content-Length: 4_0",
    b"Content-Length: \xb2", b"Content-Length: 4\x0b", b"content-length: 4\r\nCONTENT-LENGTH: 04", b"Content-Length: (4)",
]]

CODINGS = [OK + lines + b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n" for lines in [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 14",
    b"Transfer-Encoding: chunked\r\nContent-Length: 0", b"Transfer-Encoding: chunked\r\nContent-Length: x",
    b"Transfer-Encoding: gzip", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: ", b"Transfer-Encoding: ,", b"Transfer-Encoding: x", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunk", b"Transfer-Encoding: chun ked", b"Transfer-Encoding: chunked x",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked\x0c", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked,", b"Transfer-Encoding: deflate, chunked", b"Transfer-Encoding: compress", b"Transfer-Encoding: *",
]] + [(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n").replace(b"/1.1", b"/1.0"),
      b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]

LINE_ENDS = [
    head().replace(b"\r\n", b"\n"), head().replace(b"\r\n", b"\r"), head().replace(b"\r\n", b"\n\r"),
    b"HTTP/1.1 200 OK\n" + FOUR, b"HTTP/1.1 200 OK\r" + FOUR, OK + b"X: y\n" + FOUR, OK + b"X: y\r" + FOUR,
    OK + b"Content-Length: 4\r\n\nbody", OK + b"Content-Length: 4\n\r\nbody", OK + b"Content-Length: 4\n\nbody",
    OK + b"Content-Length: 4\r\r\n\r\nbody", OK + b"Content-Length: 4\r\n\r\r\nbody", OK + b"\0\r\n" + FOUR,
]

INTERIM = [
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\ngarbage\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n\r\n" + EVIL,
    b"HTTP/1.1 103 Early Hints\r\nX : y\r\n\r\n" + EVIL, b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + EVIL,
    b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + EVIL, b"HTTP/1.1 101 Switching\r\n\r\n" + EVIL,
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + EVIL,
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"HTTP/1.1 103\r\n\r\n" + EVIL,
    b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + EVIL, b"HTTP/1.1 199 \r\n\r\n" * 1000 + EVIL,
    (b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 4000 + b"\r\n\r\n") * 3 + EVIL,
]


@pytest.mark.parametrize("raw", named(STATUS_LINES + FIELD_LINES + LENGTHS + CODINGS + LINE_ENDS + INTERIM))
@pytest.mark.parametrize("end", ["open", "close"])
def test_a_bad_head_is_502(rig, raw, end):
    target, answer = rig.play(raw, end)
    assert answer.status == 502 and answer["Proxy-Status"].startswith("shield; error=")
    assert answer.end == "clean" and b"evil" not in answer.body and b"body" not in answer.body
    rig.is_let_go(target)
    rig.is_not_kept(target)


@pytest.mark.parametrize("limit, raw", [
    ("client.max_fields", head(b"HTTP/1.1 200 OK", *[b"X: y"] * 40)),
    ("client.max_head", head(b"HTTP/1.1 200 OK", b"X: " + b"y" * 9000)),
    ("client.max_head", head(b"HTTP/1.1 200 OK", b"X" * 9000 + b": y")),
    ("client.max_head", head(b"HTTP/1.1 200 " + b"K" * 9000)),
    ("client.max_head", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9000),
    ("http.max_1xx", b"HTTP/1.1 102 Processing\r\n\r\n" * 17),
], ids=["fields", "value", "name", "reason", "no end", "1xx"])
def test_a_head_beyond_a_bound_is_502_and_counted(rig, limit, raw):
    before = rig.shield.metric("limit_reached_total", limit=limit)
    target, answer = rig.play(raw)
    assert answer.status == 502
    assert rig.shield.metric("limit_reached_total", limit=limit) == before + 1
    rig.is_let_go(target)
    rig.is_not_kept(target)


# bodies that do not end as they should

CHUNKS = [CHUNKED + body for body in [
    b"x\r\nbody\r\n0\r\n\r\n", b"4\nbody\r\n0\r\n\r\n", b"4\r\nbody\n0\r\n\r\n", b"4\r\nbody0\r\n\r\n", b"4\r\nbodyx\r\n0\r\n\r\n",
    b"4\rbody\r\n0\r\n\r\n", b"4\r\nbody\r0\r\n\r\n", b"-4\r\nbody\r\n0\r\n\r\n", b"+4\r\nbody\r\n0\r\n\r\n", b"0x4\r\nbody\r\n0\r\n\r\n",
    b" 4\r\nbody\r\n0\r\n\r\n", b"\t4\r\nbody\r\n0\r\n\r\n", b"4 \r\nbody\r\n0\r\n\r\n", b"4\t\r\nbody\r\n0\r\n\r\n",
    b"4 4\r\nbody\r\n0\r\n\r\n", b"4_0\r\nbody\r\n0\r\n\r\n", b"4.0\r\nbody\r\n0\r\n\r\n", b"4,\r\nbody\r\n0\r\n\r\n",
    b"4h\r\nbody\r\n0\r\n\r\n", b"\r\nbody\r\n0\r\n\r\n", b"\r\n4\r\nbody\r\n0\r\n\r\n", b";a=b\r\nbody\r\n0\r\n\r\n",
    b"10000000000000000\r\nbody\r\n0\r\n\r\n", b"ffffffffffffffff\r\nbody\r\n0\r\n\r\n", b"8000000000000000\r\nbody\r\n0\r\n\r\n",
    b"10000000000000004\r\nbody\r\n0\r\n\r\n", b"00000000000000000004\r\nbody\r\n0\r\n\r\n", b"4\0\r\nbody\r\n0\r\n\r\n",
    b"4;a\0\r\nbody\r\n0\r\n\r\n", b"4;a\nb\r\nbody\r\n0\r\n\r\n", b"4;a=\"\r\nbody\r\n0\r\n\r\n", b"4;a=\"b\nc\"\r\nbody\r\n0\r\n\r\n",
    b"4;\r\nbody\r\n0\r\n\r\n", b"4;=b\r\nbody\r\n0\r\n\r\n", b"4;a=\r\nbody\r\n0\r\n\r\n", b"4;a b\r\nbody\r\n0\r\n\r\n",
    b"4;a=b c\r\nbody\r\n0\r\n\r\n", b"4;" + b"a" * 100 + b"\r\nbody\r\n0\r\n\r\n", b"5\r\nbody\r\n0\r\n\r\n", b"3\r\nbody\r\n0\r\n\r\n",
    b"4\r\nbody\r\n0\n\r\n", b"4\r\nbody\r\n0\r\n\n", b"4\r\nbody\r\n0\r\nX\r\n\r\n", b"4\r\nbody\r\n0\r\n X: y\r\n\r\n",
    b"4\r\nbody\r\n0\r\nX : y\r\n\r\n", b"4\r\nbody\r\n0\r\nX: y\n\r\n", b"4\r\nbody\r\n0\r\nX: y\r\n z\r\n\r\n",
    b"4\r\nbody\r\n0\r\nX: \0\r\n\r\n", b"4\r\nbody\r\n0\r\n: y\r\n\r\n", b"4\r\nbody\r\n0\r\nX: " + b"y" * 300 + b"\r\n\r\n",
    b"4\r\nbody\r\n0\r\nX: a\rb\r\n\r\n", b"4\r\nbody\r\n0\r\n" + EVIL, b"4\r\nbody\r\n0 0\r\n\r\n", b"4\r\nbody\r\n-0\r\n\r\n",
    b"4\r\nbody\r\n0\r\n\rX", b"4\r\nbody\r\nHTTP/1.1 200 OK\r\n\r\n", b"\xd9\xa4\r\nbody\r\n0\r\n\r\n", b"G\r\n", b"\0\r\n", b"\r\n\r\n",
]]


@pytest.mark.parametrize("raw", named(CHUNKS))
def test_a_bad_chunk_is_a_cut(rig, raw):
    target, answer = rig.play(raw)
    assert answer.status == 502 or (answer.is_cut and b"body".startswith(answer.body[:4])), answer
    rig.is_let_go(target)
    rig.is_not_kept(target)


@pytest.mark.parametrize("limit, raw", [
    ("http.max_chunk_ext", CHUNKED + b"4;" + b"a" * 100 + b"\r\nbody\r\n0\r\n\r\n"),
    ("http.max_trailers", CHUNKED + b"4\r\nbody\r\n0\r\nX: " + b"y" * 300 + b"\r\n\r\n"),
    ("http.max_trailers", CHUNKED + b"4\r\nbody\r\n0\r\n" + b"X: y\r\n" * 60 + b"\r\n"),
], ids=["extension", "trailer", "trailers"])
def test_a_body_beyond_a_bound_is_a_cut_and_counted(rig, limit, raw):
    before = rig.shield.metric("limit_reached_total", limit=limit)
    target, answer = rig.play(raw)
    assert answer.is_cut or answer.status == 502
    assert rig.shield.metric("limit_reached_total", limit=limit) == before + 1
    rig.is_let_go(target)
    rig.is_not_kept(target)


SHORT = [OK + b"Content-Length: 5\r\n\r\nbody", OK + b"Content-Length: 9223372036854775807\r\n\r\nbody", CHUNKED + b"4\r\nbody\r\n",
         CHUNKED + b"7fffffffffffffff\r\nbody", CHUNKED + b"4\r\nbody\r\n0\r\n", CHUNKED + b"4\r\nbody\r\n0\r\nX: y\r\n", CHUNKED,
         OK + b"Content-Length: 1\r\n\r\n", (OK + b"Content-Length: 5\r\n\r\nbody").replace(b"/1.1", b"/1.0"),
         OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nbody"]


@pytest.mark.parametrize("raw", named(SHORT))
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_short_body_is_a_cut(rig, raw, end, version):
    target, answer = rig.play(raw, end, version=version)
    assert answer.is_cut or answer.status == 502, answer
    rig.is_not_kept(target)


WHOLE = {
    "length": OK + b"ETag: W/\"a\"\r\nX-A: b\r\n" + FOUR,
    "chunked": CHUNKED + b"2;a=b\r\nbo\r\n02\r\ndy\r\n0;c=\"d\"\r\nX: y\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + FOUR,
}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("raw", WHOLE.values(), ids=WHOLE.keys())
def test_cut_at_every_byte(rig, raw, end):
    head_bytes = raw.rindex(b"\r\n\r\n" if raw.endswith(b"body") else b"chunked\r\n\r\n")
    head_bytes = raw.index(b"\r\n\r\n", head_bytes) + 4
    for at in range(len(raw)):
        target, answer = rig.play(raw[:at], end)
        if at < head_bytes:
            assert answer.status == 502 and answer.end == "clean", (at, answer)
        else:
            assert answer.status == 502 or (answer.is_cut and b"body".startswith(answer.body)), (at, answer)
        rig.is_not_kept(target)


@pytest.mark.parametrize("raw", WHOLE.values(), ids=WHOLE.keys())
def test_byte_by_byte_it_is_whole(rig, raw):
    target = rig.target()
    rig.origin.hold(target)
    client = rig.lab.client(rig.shield).request(target)
    held = rig.origin.expect(target)
    for byte in raw:
        held.send(bytes([byte]))
    held.finish()
    answer = client.response()
    client.close()
    assert (answer.status, answer.body, answer.end) == (200, b"body", "clean")
    assert rig.ask(target).cache["hit"]


# answers that are whole, and what becomes of their connection

def old(raw):
    return raw.replace(b"HTTP/1.1", b"HTTP/1.0")


KEPT = [OK + FOUR, OK + b"Connection: keep-alive\r\n" + FOUR, OK + b"Connection: Keep-Alive, X\r\nX: 1\r\n" + FOUR,
        old(OK) + b"Connection: keep-alive\r\n" + FOUR, CHUNKED + b"4\r\nbody\r\n" + LAST, CHUNKED + b"0004\r\nbody\r\n000\r\n\r\n",
        CHUNKED + b"4 ; a = b ; c=\"d;\\\"e\r\"".replace(b"\r", b"") + b"\r\nbody\r\n" + LAST, OK + b"Content-Length: 0004\r\n\r\nbody",
        CHUNKED + b"1\r\nb\r\n1\r\no\r\n1\r\nd\r\n1\r\ny\r\n" + LAST, OK.replace(b"1.1", b"1.2") + FOUR, OK.replace(b" OK", b" ") + FOUR,
        OK + b"Transfer-Encoding: CHUNKED\r\n\r\n4\r\nbody\r\n" + LAST, OK + b"Content-Length:4\r\n\r\nbody",
        OK + b"Content-Length: \t 4 \t \r\n\r\nbody", OK + b"X:\r\nY: \xe4\xff\r\nZ: \"\\\"\r\n" + FOUR,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + FOUR, b"HTTP/1.1 199 Odd\r\nX: y\r\n\r\n" * 16 + OK + FOUR,
        OK + b"Keep-Alive: timeout=5\r\n" + FOUR, OK.replace(b" OK", b" \xe4\t!") + FOUR]

LET_GO = [(OK + b"Connection: close\r\n" + FOUR, "open"), (OK + b"Connection: X, CLOSE\r\n" + FOUR, "open"),
          (OK + b"Connection: keep-alive, close\r\n" + FOUR, "open"), (OK + b"Connection: keep-alive\r\nConnection: close\r\n" + FOUR, "open"),
          (old(OK) + FOUR, "open"), (old(OK) + b"Connection: close\r\n" + FOUR, "open"), (old(OK) + b"Connection: x\r\n" + FOUR, "open"),
          (OK + b"\r\nbody", "close"), (old(OK) + b"\r\nbody", "close"), (OK + b"Connection: keep-alive\r\n\r\nbody", "close"),
          (OK + FOUR + b"x", "open"), (OK + FOUR + b"\r\n", "open"), (OK + FOUR + EVIL, "open"), (OK + FOUR + b"\0", "open"),
          (CHUNKED + b"4\r\nbody\r\n0\r\n\r\n\r\n", "open"), (CHUNKED + b"4\r\nbody\r\n0\r\n\r\n" + EVIL, "open"),
          (CHUNKED + b"4\r\nbody\r\n0\r\nX: y\r\n\r\n0\r\n\r\n", "open"), (OK + FOUR, "close"), (CHUNKED + b"4\r\nbody\r\n" + LAST, "close"),
          (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\n" + OK + FOUR, "open"),
          (b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + OK + FOUR, "open")]


@pytest.mark.parametrize("raw", named(KEPT))
def test_a_whole_answer_is_stored_and_its_connection_kept(rig, raw):
    target, answer = rig.play(raw)
    assert (answer.status, answer.body, answer.end) == (200, b"body", "clean")
    again = rig.ask(target)
    assert again.cache["hit"] and again.body == b"body"
    other = rig.target()
    rig.origin.on(other, cacheable(other))
    assert rig.ask(other).body == other.encode()
    assert rig.connection(other) is rig.connection(target)


@pytest.mark.parametrize("case", named(LET_GO))
def test_a_whole_answer_is_stored_and_its_connection_let_go(rig, case):
    target, answer = rig.play(*case)
    assert (answer.status, answer.body, answer.end) == (200, b"body", "clean")
    rig.is_let_go(target)
    again = rig.ask(target)
    assert again.cache["hit"] and again.body == b"body"
    other = rig.target()
    rig.origin.on(other, cacheable(other))
    assert rig.ask(other).body == other.encode()


def test_an_end_by_reset_is_no_end(rig):
    target, answer = rig.play(OK + b"\r\nbody", "reset")
    assert answer.is_cut or answer.status == 502
    rig.is_not_kept(target)


# no content, whatever is said of it: the bait for a desync

NOTHING = [(204, "GET"), (304, "GET"), (200, "HEAD"), (404, "HEAD")]


def without_content(status, *lines):
    return b"\r\n".join([f"HTTP/1.1 {status} Said".encode(), *lines, b"", b""])


@pytest.mark.parametrize("status, method", NOTHING)
@pytest.mark.parametrize("behind", [b"evil", EVIL, b"4\r\nevil\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("line", [b"Content-Length: 4", b"Transfer-Encoding: chunked", b"X: y"], ids=bytes.decode)
def test_bytes_where_no_content_can_be(rig, status, method, behind, line):
    fields = {"If-None-Match": '"a"'} if status == 304 else {}
    target, answer = rig.play(without_content(status, line) + behind, "open", method, **fields)
    is_unasked = status == 304 and answer.status == 502  # its condition is ours to judge, and did not go upstream
    assert is_unasked or (answer.status, answer.body, answer.end) == (status, b"", "clean")
    rig.is_let_go(target)
    rig.is_not_kept(target)


@pytest.mark.parametrize("status, method", NOTHING)
@pytest.mark.parametrize("late", [b"evil", EVIL], ids=["bytes", "an answer"])
def test_bytes_that_come_later_where_no_content_can_be(rig, status, method, late):
    """They have come before the connection is used again: so it is not."""
    fields = {"If-Match": '"a"'} if status == 304 else {}
    target = rig.target()
    client = rig.lab.client(rig.shield).request(target, method, **fields)
    held = rig.origin.expect(target)
    held.send(without_content(status, b"Content-Length: 4"))
    assert client.response().status in (status, 502)
    client.close()
    try:
        held.send(late).finish()
    except OSError:
        held.close()
    rig.is_let_go(target)
    rig.is_not_kept(target)


@pytest.mark.parametrize("line, is_kept", [(b"X: y", True), (b"Content-Length: 0", True), (b"Content-Length: 4", False),
                                           (b"Transfer-Encoding: chunked", False)])
def test_a_204_that_promises_content_is_the_last_of_its_connection(rig, line, is_kept):
    """RFC 9110 section 8.6, RFC 9112 section 6.1: neither may be in it; whoever says so may send it, too."""
    target, answer = rig.play(without_content(204, line))
    assert (answer.status, answer.body, answer.end) == (204, b"", "clean")
    assert "Content-Length" not in answer.fields and "Transfer-Encoding" not in answer.fields
    if not is_kept:
        rig.is_let_go(target)
    rig.is_not_kept(target)
    requests = rig.origin.requests(target)
    assert (requests[0].connection is requests[1].connection) == is_kept


def test_a_205_has_the_content_that_is_framed(rig):
    target, answer = rig.play(b"HTTP/1.1 205 Reset\r\nContent-Length: 4\r\n\r\nbody")
    assert (answer.status, answer.body, answer.end) == (205, b"body", "clean")
    rig.is_not_kept(target)


# bytes that nobody has asked for

@pytest.mark.parametrize("late", [b"x", b"\r\n", EVIL, b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("end", ["open", "close", "reset"])
def test_bytes_on_an_idle_connection_end_it(rig, late, end):
    target = rig.target()
    client = rig.lab.client(rig.shield).request(target)
    held = rig.origin.expect(target)
    held.respond(200, {"Cache-Control": "max-age=60"}, b"body")
    assert client.response().body == b"body"
    client.close()
    other = rig.target()
    rig.origin.on(other, cacheable(other))
    answering(late, end)(held)
    assert rig.ask(other).body == other.encode()
    rig.is_let_go(target)


def is_stopped(shield):
    with open(f"/proc/{shield.process.pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("late, end", [(EVIL, "open"), (EVIL, "close"), (b"", "close"), (b"", "reset")],
                         ids=["an answer", "an answer and the end", "the end", "a reset"])
def test_news_of_a_connection_come_before_the_next_request(rig, late, end, method):
    """What has come on an idle connection counts, though the loop hears first of the request that would take it."""
    one, two = rig.target(), rig.target()
    rig.origin.hold(one)
    client = rig.lab.client(rig.shield).request(one)
    held = rig.origin.expect(one)
    held.respond(200, {"Cache-Control": "max-age=60"}, b"one")
    assert client.response().body == b"one"
    rig.origin.on(two, cacheable(two))
    rig.shield.send_signal(signal.SIGSTOP)
    until("it is stopped", lambda: is_stopped(rig.shield))
    client.request(two, method)
    answering(late, end)(held)
    rig.shield.send_signal(signal.SIGCONT)
    answer = client.response()
    client.close()
    assert (answer.status, answer.body) == (200, two.encode())
    rig.is_let_go(one)


# statuses

@pytest.mark.parametrize("raw", named([
    b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\n\r\n",
    b"HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-3/9\r\n" + FOUR,
    b"HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-3/4\r\n" + FOUR,
    b"HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\n" + FOUR,
]))
@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-3"}, {"Cookie": "a=b"}], ids=["plainly", "a range", "a cookie"])
def test_what_only_a_condition_or_a_range_may_bring_is_502(rig, raw, asked):
    """RFC 9110 sections 15.3.7, 15.4.5: ours was unconditional, and for the whole."""
    target, answer = rig.play(raw, **asked)
    assert answer.status == 502
    rig.is_not_kept(target)


@pytest.mark.parametrize("status", [400, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426, 428, 429, 431])
def test_a_fault_of_one_request_is_nobody_elses(rig, status):
    """RFC 6585 for 428, 429 and 431; for the others what nobody's key tells apart may have been the fault."""
    target, answer = rig.play(head(f"HTTP/1.1 {status} Your fault".encode()))
    assert (answer.status, answer.body) == (status, b"body")
    rig.is_not_kept(target)


@pytest.mark.parametrize("line", [b"Set-Cookie: id=1", b"Vary: *", b"Cache-Control: private", b"Cache-Control: no-store"])
def test_connection_takes_nothing_from_under_us(rig, line):
    """RFC 9110 section 7.6.1: what a decision rests on stays, and holds, whatever Connection names."""
    name = line.split(b":")[0]
    for named_too in (name, name.lower(), b"close, " + name.upper(), b"x," + name + b",y"):
        target, answer = rig.play(head(b"HTTP/1.1 200 OK", line, b"Connection: " + named_too))
        assert answer.body == b"body" and line.split(b": ")[1].decode() in answer.fields.joined(name.decode())
        rig.is_not_kept(target)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding"])
def test_connection_cannot_change_the_framing(rig, name):
    raw = OK + f"Connection: {name}\r\n".encode() + (FOUR if name == "Content-Length" else
                                                     b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
    target, answer = rig.play(raw + EVIL)
    assert (answer.body, answer.end) == (b"body", "clean")
    rig.is_let_go(target)
    assert rig.ask(target).body == b"body"


@pytest.mark.parametrize("name, value", [("ETag", '"a"'), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("Age", "5"),
                                         ("Content-Encoding", "gzip"), ("Content-Type", "text/x"), ("Via", "1.1 inner")])
def test_connection_leaves_what_caches_need(rig, name, value):
    target, answer = rig.play(head(b"HTTP/1.1 200 OK", f"{name}: {value}".encode(), f"Connection: {name}".encode()))
    for got in (answer, rig.ask(target)):
        assert got.fields.joined(name).startswith(value) or int(got[name]) >= 5
    assert got.cache["hit"]


TRAILERS = ["Content-Length: 9", "Transfer-Encoding: chunked", "Set-Cookie: id=1", "Cache-Control: no-store", "Vary: *", "Host: evil",
            "Content-Type: text/evil", "Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Location: /evil", "Age: 9999",
            "Connection: close", "X-Evil: 1", "ETag: \"evil\"", "Trailer: X", "Cache-Status: evil; hit"]


@pytest.mark.parametrize("line", TRAILERS)
def test_a_trailer_is_no_field(rig, line):
    """RFC 9110 section 6.5.1: never merged, neither for who has waited nor for who finds it stored."""
    target, answer = rig.play(CHUNKED + b"4\r\nbody\r\n0\r\n" + line.encode() + b"\r\n\r\n")
    hit = rig.ask(target)
    assert hit.cache["hit"]
    name, _, value = line.partition(": ")
    for got in (answer, hit):
        assert (got.status, got.body, got.end) == (200, b"body", "clean")
        assert value not in got.fields.all(name) and "evil" not in str(got.fields)


def test_many_fields_cost_linear_time(rig):
    """A head within its bounds whose Connection names much is no work to speak of; beyond them it is refused."""
    names = b"Connection: " + b",".join(b"a%d" % i for i in range(200)) + b"\r\n"
    target, answer = rig.play(OK + names + b"".join(b"a%d: 1\r\n" % i for i in range(25)) + FOUR)
    assert answer.body == b"body" and not any(name.startswith("a") and name[1:].isdigit() for name, _ in answer.fields.lines)
    assert rig.ask(target).cache["hit"]
    target, answer = rig.play(OK + names * 3 + FOUR)
    assert answer.status == 502


# an answer before the request is whole

def test_an_early_answer_is_the_last_of_its_connection(rig):
    """RFC 9112 section 9.5: nobody reads the rest of that request, so nothing may come behind it."""
    target = rig.target()
    client = rig.lab.client(rig.shield)
    client.send(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf".encode(), ["POST"])
    held = rig.origin.expect(target)
    held.read_body(4)
    held.send(b"HTTP/1.1 403 No\r\n" + FOUR)
    assert client.head().status == 403
    held.wait_closed()
    client.close()
    rig.is_not_kept(target)


def test_the_validation_of_what_is_stored(rig):
    """RFC 9110 section 15.4.5, RFC 9111 section 3.2: a 304 may bring what stops sharing; the framing it names means nothing."""
    for line in (b"Set-Cookie: id=1", b"Cache-Control: no-store", b"Cache-Control: private", b"Vary: *"):
        target = rig.target()
        rig.origin.on(target, Reply("old", Cache_Control="max-age=0", ETag='"a"'))
        assert rig.ask(target).body == b"old"
        rig.origin.on(target, answering(without_content(304, line, b'ETag: "a"', b"Content-Length: 99"), "open"))
        answer = rig.ask(target)
        assert (answer.status, answer.body, answer.end) == (200, b"old", "clean")
        rig.is_not_kept(target)
