"""Origins that mean harm, byte by byte (RFC 9112, RFC 9110): what each client sees, that nothing broken is kept, that the
connection goes or rightly stays, and that the next client's answer is its own. One shield lives through all of it."""
import pytest

from raw_answers import CHUNKED, EVIL, FOUR, OK, head, named
from scripted_origin import Reply
from table_rig import answering

SETS = {"http.max_chunk_ext": "64", "http.max_trailers": "256", "client.max_head": "8k", "client.max_fields": "32"}


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


def test_broken_answers_take_no_server_down(lab):
    """Nor are they remembered: who knows one URL that brings them would else take the origin from everybody."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.error_ttl": "1h", "flight.error_ttl_max": "1h"})
    for raw in (b"garbage\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n"):
        for n in range(10):
            origin.on("/bad", answering(raw, "close"))
            assert lab.ask(shield, "/bad").status == 502
        assert origin.count("/bad") == 10
        origin.on("/bad", Reply("good"))
        assert lab.ask(shield, "/bad").body == b"good"
        origin.seen.clear()


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
