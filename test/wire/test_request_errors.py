"""Requests that are refused: with the right status, never seen by the origin, and with the connection closed."""
import pytest

from http_text import request_bytes
from scripted_origin import cacheable

GET = b"GET / HTTP/1.1\r\nHost: edge.test\r\n"
POST = b"POST / HTTP/1.1\r\nHost: edge.test\r\n"

REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: other.test\r\n\r\n", 400),
    "host list": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "host with userinfo": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "space before colon": (GET + b"A : b\r\n\r\n", 400),
    "no field name": (GET + b": b\r\n\r\n", 400),
    "no colon": (GET + b"nonsense\r\n\r\n", 400),
    "folded field": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: edge.test\n\n", 400),
    "bare CR": (GET + b"A: b\rc\r\n\r\n", 400),
    "NUL in a value": (GET + b"A: b\0c\r\n\r\n", 400),
    "control in a name": (GET + b"A\x01: b\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab for space": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target without slash": (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "asterisk for GET": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bad method": (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bad version": (b"GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400),
    "version in lower case": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "binary": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
    "length and chunked": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "length list": (POST + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    "length with sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "length in hex": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\nabc", 400),
    "length too big": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "another coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "no chunked at the end": (POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
    "HTTP/2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9 by name": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long field": (GET + b"A: " + b"b" * 70000 + b"\r\n\r\n", 431),
    "many fields": (GET + b"A: b\r\n" * 300 + b"\r\n", 431),
    "CONNECT": (b"CONNECT edge.test:443 HTTP/1.1\r\nHost: edge.test:443\r\n\r\n", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "PURGE": (b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
}
MAY_STAY = {"CONNECT", "TRACE", "PURGE"}  # well formed: whether the connection closes is ours to choose


@pytest.mark.parametrize("name", REFUSED)
def test_refused(lab, name):
    raw, status = REFUSED[name]
    origin = lab.origin().on_all(cacheable("must not be asked"))
    shield = lab.shield(origin)
    client = lab.client(shield).send(raw)
    answer = client.response()
    assert answer.status == status
    assert answer["Proxy-Status"].startswith("shield; error=")
    if name not in MAY_STAY:
        assert answer["Connection"] == "close" and client.at_end()
    shield.wait_metric("requests_total", 1, result="refused")
    assert origin.count() == 0
    assert lab.ask(shield, "/").status == 200


@pytest.mark.parametrize("content", [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n",
                                     b"-3\r\nabc\r\n", b"fffffffffffffffff\r\n", b"3\nabc\n0\n\n", b"\r\n"])
def test_broken_chunks_in_a_request(lab, content):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + content)
    answer = client.response()
    assert answer.status == 400 or answer.is_cut
    for request in origin.requests():
        assert not request.content_ends(), "the origin takes the broken content for whole"


def test_what_stands_behind_a_refused_request_is_never_a_request(lab):
    origin = lab.origin().on_all(cacheable("smuggled"))
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + request_bytes("/smuggled"))
    assert client.response().status == 400
    assert client.at_end()
    assert origin.count() == 0


def test_requests_before_a_refused_one_are_answered(lab):
    origin = lab.origin().on_all(lambda request: cacheable(request.target))
    shield = lab.shield(origin)
    client = lab.client(shield).send(request_bytes("/a") + request_bytes("/b") + b"GET / HTTP/1.1\r\n\r\n" + request_bytes("/c"))
    assert [client.response().body for _ in range(2)] == [b"/a", b"/b"]
    assert client.response().status == 400
    assert client.at_end()
    assert origin.count("/c") == 0


def test_limits_can_be_set(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin, sets={"client.max_head": "1k", "client.max_url": "100", "client.max_fields": "5"})
    assert lab.ask(shield, "/" + "a" * 90).status == 200
    assert lab.ask(shield, "/" + "a" * 100).status == 414
    assert lab.ask(shield, "/", A="b" * 1000).status == 431
    assert lab.ask(shield, "/", headers=[("A", "b")] * 4).status == 200
    assert lab.ask(shield, "/", headers=[("A", "b")] * 5).status == 431
    for limit in ("client.max_url", "client.max_head", "client.max_fields"):
        assert shield.metric("limit_reached_total", limit=limit) >= 1


def test_hosts_that_are_not_served(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin, sets={"hosts": "edge.test"})
    assert lab.ask(shield, "/").status == 200
    assert lab.ask(shield, "/", host="other.test").status == 421
    assert origin.count() == 1
