"""The tools of these tests, against each other: what they report as cut, reset or clean must be that."""
import pytest

from http_text import BadMessage, Response, chunk, request_bytes
from scripted_origin import Reply, cacheable
from shield_process import parse_metrics


def test_automatic_answers_and_keep_alive(lab):
    origin = lab.origin().on("/a", cacheable("hello")).on("/b", Reply("xyz", chunked=True))
    client = lab.client(("127.0.0.1", origin.port))
    assert client.ask("/a").body == b"hello"
    answer = client.ask("/b")
    assert (answer.body, answer.framing, answer.end) == (b"xyz", "chunked", "clean")
    assert client.ask("/a", "HEAD").body == b""
    assert (origin.connections, origin.count(), origin.count("/a")) == (1, 3, 2)


def test_held_answers_step_by_step(lab):
    origin = lab.origin()
    client = lab.client(("127.0.0.1", origin.port)).request("/x", X_Y="z")
    held = origin.expect("/x")
    assert held.get("x-y") == "z"
    held.send_head(200, {"A": "b"}, length=6)
    assert client.head()["A"] == "b"
    held.send(b"abc")
    assert client.body(3) == b"abc"
    held.send(b"def").finish()
    assert client.response().end == "clean"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_ends_are_told_apart(lab, framing, how):
    origin = lab.origin()
    client = lab.client(("127.0.0.1", origin.port)).request("/x")
    held = origin.expect("/x")
    held.send_head(200, length=10 if framing == "length" else None, chunked=framing == "chunked")
    held.send(chunk(b"abc") if framing == "chunked" else b"abc")
    client.body(3)
    getattr(held, how)()
    answer = client.response()
    if how == "reset":
        assert answer.end == "reset" and answer.is_cut
    elif framing == "close":
        assert answer.end == "clean" and not answer.is_cut
    else:
        assert answer.end == "truncated" and answer.is_cut


def test_a_crowd(lab):
    origin = lab.origin().on_all(lambda request: Reply(request.target * 1000))
    crowd = lab.crowd(("127.0.0.1", origin.port), 100)
    crowd.send(lambda i: request_bytes(f"/{i}"))
    for i, answer in enumerate(crowd.responses()):
        assert answer.body == f"/{i}".encode() * 1000


def test_pipelined_answers_are_split_exactly(lab):
    origin = lab.origin().on("/a", Reply("one")).on("/b", Reply("two"))
    client = lab.client(("127.0.0.1", origin.port))
    client.send(request_bytes("/a") + request_bytes("/b"))
    assert [client.response().body, client.response().body] == [b"one", b"two"]


def test_the_origin_sees_a_client_leave(lab):
    origin = lab.origin()
    client = lab.client(("127.0.0.1", origin.port)).request("/x")
    held = origin.expect("/x")
    client.close()
    held.wait_closed()


@pytest.mark.parametrize("raw", [
    b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
])
def test_the_reader_is_strict(raw):
    with pytest.raises(BadMessage):
        Response().feed(raw)


def test_metrics_text():
    text = '# HELP a_total h\n# TYPE a_total counter\na_total{x="1",y="2"} 3\na_total{x="2",y="2"} 4\n'
    assert sum(parse_metrics(text).values()) == 7
    for bad in ["a 1\n", '# TYPE a counter\na{x=1} 1\n', "# TYPE a counter\na 1\na 2\n"]:
        with pytest.raises(BadMessage):
            parse_metrics(bad)
