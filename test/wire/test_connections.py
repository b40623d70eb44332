"""Client connections: keep-alive, pipelining, HTTP/1.0, pieces, and limits in time."""
import os
import select
import socket
import threading
import time

import pytest

from http_text import chunk, request_bytes
from patience import until
from scripted_origin import Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}


def warm(lab, **kw):
    origin = lab.origin().on_all(lambda request: cacheable(request.target))
    shield = lab.shield(origin, **kw)
    return origin, shield


def test_a_connection_carries_many_requests(lab):
    origin, shield = warm(lab)
    client = lab.client(shield)
    for i in range(50):
        assert client.ask(f"/{i % 10}").body == f"/{i % 10}".encode()
    shield.wait_metric("client_connections_total", 1)
    assert origin.count() == 10


@pytest.mark.parametrize("fields", [{"Connection": "close"}, {"Connection": "foo, Close"}])
def test_close_is_obeyed(lab, fields):
    _, shield = warm(lab)
    client = lab.client(shield)
    for _ in range(2):  # a miss, and a hit
        answer = client.ask("/x", **fields)
        assert answer.body == b"/x" and "close" in answer["Connection"].lower()
        assert client.at_end()
        client = lab.client(shield)


def test_http_1_0_closes_by_default(lab):
    _, shield = warm(lab)
    for _ in range(2):
        client = lab.client(shield)
        answer = client.ask("/x", version="1.0")
        assert answer.body == b"/x" and answer.end == "clean"
        assert client.at_end()


def test_http_1_0_without_host(lab):
    _, shield = warm(lab)
    answer = lab.ask(shield, "/x", version="1.0", host=None)
    assert answer.status == 200 and answer.body == b"/x"


def test_http_1_0_keep_alive_is_all_or_nothing(lab):
    _, shield = warm(lab)
    client = lab.client(shield)
    answer = client.ask("/x", version="1.0", Connection="keep-alive")
    assert answer.body == b"/x"
    if answer.get("Connection", "close").lower() == "keep-alive":
        assert client.ask("/x", version="1.0").body == b"/x"
    assert client.at_end()


def test_pipelined_requests_are_answered_in_order(lab):
    origin, shield = warm(lab)
    lab.ask(shield, "/hit")
    origin.on_all(None)
    client = lab.client(shield)
    client.send(request_bytes("/slow") + request_bytes("/hit") + request_bytes("/hit", "HEAD") + request_bytes("/slow2"),
                ["GET", "GET", "HEAD", "GET"])
    held = origin.expect("/slow")
    held.respond(200, FRESH, b"slow")
    assert [client.response().body for _ in range(2)] == [b"slow", b"/hit"]
    assert client.response()["Content-Length"] == "4"
    origin.expect("/slow2").respond(200, FRESH, b"slow2")
    assert client.response().body == b"slow2"


def test_more_pipelined_than_is_kept_ahead(lab):
    _, shield = warm(lab)
    client = lab.client(shield)
    client.send(b"".join(request_bytes(f"/{i}") for i in range(200)))
    for i in range(200):
        assert client.response().body == f"/{i}".encode()


def test_pipelined_so_far_ahead_that_reading_stops_within_a_head(lab):
    """DESIGN section 2, client.max_pipelined: reading goes on once the requests that wait have been answered."""
    origin, shield = warm(lab)
    lab.ask(shield, "/hit")
    origin.on_all(None)
    client = lab.client(shield)
    ahead = request_bytes("/hit", X_Padding="p" * 900) * 400
    sender = threading.Thread(target=client.send, args=[request_bytes("/slow") + ahead], daemon=True)
    sender.start()
    held = origin.expect("/slow")
    shield.wait_metric("limit_reached_total", lambda n: n >= 1, limit="client.max_pipelined")
    held.respond(200, FRESH, b"slow")
    assert client.response().body == b"slow"
    for _ in range(400):
        assert client.response().body == b"/hit"
    sender.join()


@pytest.mark.parametrize("kind, asked", [
    ("GET", request_bytes("/hit")),
    ("content with a head in it", request_bytes("/hit", "HEAD", body=request_bytes("/no") * 5)),
    ("chunks with a head in them", request_bytes("/hit", "HEAD", Transfer_Encoding="chunked") + chunk(request_bytes("/no")) * 5 + b"0\r\n\r\n"),
])
def test_max_pipelined_counts_requests(lab, kind, asked):
    """DESIGN section 2: up to so many requests are read ahead of an answer, then nothing until some are answered."""
    origin, shield = warm(lab, sets={"client.max_pipelined": "3"})
    method = "GET" if kind == "GET" else "HEAD"
    lab.ask(shield, "/hit")
    origin.hold("/slow")
    origin.on_all(None)
    origin.on("/hit", cacheable("/hit"))
    client = lab.client(shield)

    def reached():
        return shield.metric("limit_reached_total", limit="client.max_pipelined")
    for ahead in (2, 3):
        client.send(request_bytes("/slow", "POST", body=b""), ["POST"])
        held = origin.expect("/slow")
        for _ in range(ahead):
            client.send(asked, [method])
        if ahead == 3:
            shield.wait_metric("limit_reached_total", 1, limit="client.max_pipelined")
        client.send(asked[:20])
        held.respond(200, body=b"slow")
        for _ in range(ahead + 1):
            assert client.response().status == 200
        client.send(asked[20:], [method])
        assert client.response().status == 200
        assert reached() == (1 if ahead == 3 else 0)


def test_of_many_pipelined_requests_all_are_answered(lab):
    """Reading stops and goes on many times: each of them needs the origin."""
    origin = lab.origin().on_all(lambda request: Reply(request.target, Cache_Control="no-store"))
    shield = lab.shield(origin, sets={"client.max_pipelined": "2"})
    client = lab.client(shield)
    sender = threading.Thread(target=client.send, daemon=True,
                              args=[b"".join(request_bytes(f"/{i}", "POST", body=b"x" * i) for i in range(300)), ["POST"] * 300])
    sender.start()
    for i in range(300):
        assert client.response().body == f"/{i}".encode()
    sender.join()


def test_content_pipelined_so_far_ahead_that_reading_stops_within_it(lab):
    """Reading goes on once its request has begun, or its content would never be whole."""
    origin = lab.origin().on("/post", lambda request: cacheable(request.read_body()))
    shield = lab.shield(origin, sets={"client.max_head": "1k", "client.max_url": "256"})
    client = lab.client(shield)
    head, content = request_bytes("/post", "POST", Content_Length=9000), bytes(range(250)) * 36
    client.request("/slow").send(head + content[:2000], ["POST"])
    held = origin.expect("/slow")
    shield.wait_metric("limit_reached_total", 1, limit="client.max_pipelined")
    client.send(content[2000:])
    held.respond(200, FRESH, b"slow")
    assert client.response().body == b"slow"
    assert client.response().body == content


def test_pipelined_content_that_ends_early_with_the_connection(lab):
    """The end came while the request before it ran: that one is answered, this one is over as soon as it begins."""
    origin = lab.origin().on("/other", cacheable("other"))
    shield = lab.shield(origin)
    client, other = lab.client(shield), lab.client(shield)
    client.request("/slow").send(request_bytes("/put", "PUT", Content_Length=9) + b"content", ["PUT"])
    held = origin.expect("/slow")
    client.half_close()
    for _ in range(5):  # by then the end of the first connection has been seen
        other.ask("/other")
    held.respond(200, FRESH, b"slow")
    assert client.response().body == b"slow"
    assert client.at_end()
    assert not origin.expect("/put").content_ends()
    shield.wait_metric("waiters", 0)


def test_a_pipelined_request_behind_content(lab):
    origin = lab.origin().on("/up", lambda request: cacheable(request.read_body())).on("/x", cacheable("x"))
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", body=b"content") + request_bytes("/x") +
                request_bytes("/up", "POST", Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n" + request_bytes("/x"))
    assert [client.response().body for _ in range(4)] == [b"content", b"x", b"abc", b"x"]


def test_a_request_in_single_bytes(lab):
    _, shield = warm(lab)
    client = lab.client(shield)
    for data in (request_bytes("/x", X_A="b"), request_bytes("/y")):
        for i in range(len(data)):
            client.send(data[i:i + 1])
        assert client.response().status == 200


def test_content_in_single_bytes(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Transfer_Encoding="chunked"))
    for byte in b"3\r\nabc\r\n00a;x=y\r\n0123456789\r\n0\r\nT: x\r\n\r\n":
        client.send(bytes([byte]))
    held = origin.expect("/up")
    assert held.read_body() == b"abc0123456789"
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_answers_in_single_bytes(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    for byte in b"HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;a\r\nc\r\n0\r\n\r\n":
        held.send(bytes([byte]))
    held.finish()
    assert client.response().body == b"abc"


def test_an_empty_line_before_a_request(lab):
    _, shield = warm(lab)
    client = lab.client(shield).send(b"\r\n" + request_bytes("/x"))
    assert client.response().status == 200


def test_an_idle_connection_is_closed(lab):
    _, shield = warm(lab, sets={"client.idle_timeout": "300ms"})
    client = lab.client(shield)
    assert client.at_end()
    client = lab.client(shield)
    client.ask("/x")
    assert client.at_end()


def test_an_unfinished_head_is_408(lab):
    _, shield = warm(lab, sets={"client.head_timeout": "300ms"})
    client = lab.client(shield).send(b"GET / HTTP/1.1\r\nHost: e")
    assert client.response().status == 408
    assert client.at_end()
    shield.wait_metric("limit_reached_total", 1, limit="client.head_timeout")


def test_a_head_that_comes_byte_by_byte_is_408_too(lab):
    """DESIGN section 2, client.head_timeout: it runs from the first byte of the head, whatever follows."""
    _, shield = warm(lab, sets={"client.head_timeout": "1s"})
    client = lab.client(shield).send(b"GET / HTTP/1.1\r\nHost: edge.test\r\nX: ")

    def has_answered():
        if select.select([client.sock], [], [], 0.02)[0]:
            return True
        client.send(b"x")
        return False
    until("the shield has had enough", has_answered)
    assert client.response().status == 408


@pytest.mark.parametrize("before", ["nothing", "a request"])
def test_half_a_head_and_no_more_to_come(lab, before):
    """RFC 9112 section 8: an incomplete request at the end of the connection is not waited for."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.head_timeout": "1h", "client.idle_timeout": "1h"})
    client = lab.client(shield).send((request_bytes("/x") if before == "a request" else b"") + b"GET /half HTTP/1.1\r\nHo")
    client.half_close()
    if before == "a request":
        origin.expect("/x").respond(200, FRESH, b"x")
        assert client.response().body == b"x"
    assert client.at_end()


def test_content_that_does_not_come_ends_the_request(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.body_timeout": "300ms"})
    client = lab.client(shield).send(request_bytes("/up", "POST", Content_Length="10") + b"half")
    held = origin.expect("/up")
    held.wait_closed()
    answer = client.response()
    assert answer.status == 408 or answer.is_cut


def test_listening_on_several_addresses(lab, tmp_path):
    path = str(tmp_path / "s.sock")
    listen = ["127.0.0.1:0", "[::1]:0", f"unix:{path}"] if has_ipv6() else ["127.0.0.1:0", f"unix:{path}"]
    _, shield = warm(lab, listen=listen, workers=2)
    assert len(shield.listen) == len(listen)
    for address in shield.listen:
        for _ in range(4):
            assert lab.ask(address, "/x").body == b"/x"
    assert shield.stop() == 0


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_both_workers_serve_a_unix_socket(lab, tmp_path):
    origin = lab.origin()
    path = str(tmp_path / "s.sock")
    shield = lab.shield(origin, listen=[f"unix:{path}"], workers=2)
    crowd = lab.crowd(path, 200).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 199)
    held.respond(200, FRESH, b"hello")
    assert {a.body for a in crowd.responses()} == {b"hello"}
    assert origin.count() == 1


def test_clients_that_only_connect(lab):
    _, shield = warm(lab, workers=2)
    crowd = lab.crowd(shield, 300)
    shield.wait_metric("client_connections", 300)
    assert lab.ask(shield, "/x").status == 200
    crowd.close()
    shield.wait_metric("client_connections", 0)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_last_answer_of_a_connection_is_read_as_slowly_as_any(lab, version):
    """What is left of it in the sockets is not thrown away because the client takes its time."""
    origin = lab.origin()
    shield = lab.shield(origin)
    body = os.urandom(3_000_000)
    origin.on("/x", cacheable(body))
    lab.ask(shield, "/x")
    client = lab.client(shield)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(f"GET /x HTTP/{version}\r\nHost: edge.test\r\nConnection: close\r\n\r\n".encode(), ["GET"])
    client.head()
    shield.wait_metric("requests_total", 1, result="hit")  # all of it is in the sockets
    time.sleep(5)  # longer than the shield lingers for what clients still send
    answer = client.response()
    assert answer.end == "clean" and answer.body == body
