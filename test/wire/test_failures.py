"""What goes wrong at the origin is shared, seen as what it is by every waiter, and never stored."""
import pytest

from http_text import request_bytes
from scripted_origin import Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}


def has_proxy_status(answer):
    return answer["Proxy-Status"].startswith("shield; error=")


def cut_it(held, how):
    if how == "bad chunk":
        held.send(b"zz\r\n")
        held.finish()
    else:
        getattr(held, how)()


CUTS = [("length", "close"), ("length", "reset"), ("chunked", "close"), ("chunked", "reset"), ("chunked", "bad chunk"),
        ("close", "reset")]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("framing, how", CUTS)
def test_a_cut_body_is_a_cut_for_every_waiter(lab, framing, how, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    old = lab.crowd(shield, 3).send(request_bytes("/x", version="1.0"))
    shield.wait_metric("collapsed_requests_total", 22)
    held.send_head(200, FRESH, length=1000 if framing == "length" else None, chunked=framing == "chunked")
    held.chunk(b"a" * 500) if framing == "chunked" else held.send(b"a" * 500)
    crowd.body(500)
    old.body(500)
    cut_it(held, how)
    for answer in crowd.responses() + old.responses():
        assert answer.is_cut, answer
        assert answer.status == 200 and answer.body == b"a" * 500
    shield.wait_metric("flights", 0)
    shield.wait_metric("waiter_fates_total", 23, fate="cut")

    origin.on("/x", cacheable("whole"))
    answer = lab.ask(shield, "/x")
    assert answer.body == b"whole" and "hit" not in answer.cache
    assert origin.count() == 2


@pytest.mark.parametrize("framing, how", CUTS)
def test_a_body_cut_before_its_first_byte(lab, framing, how):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 5).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 4)
    held.send_head(200, FRESH, length=1000 if framing == "length" else None, chunked=framing == "chunked")
    cut_it(held, how)
    for answer in crowd.responses():
        assert answer.is_cut or answer.status == 502, answer
    origin.on("/x", cacheable("whole"))
    assert lab.ask(shield, "/x").body == b"whole"


def test_a_cut_for_range_waiters_too(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    part = lab.client(shield).request("/x", Range="bytes=100-899")
    early = lab.client(shield).request("/x", Range="bytes=0-99")
    shield.wait_metric("collapsed_requests_total", 2)
    held.send_head(200, FRESH, length=1000).send(b"a" * 500)
    assert early.response().body == b"a" * 100
    whole.body(500)
    held.reset()
    assert whole.response().is_cut
    answer = part.response()
    assert answer.is_cut or answer.status == 502, answer


def test_a_close_that_ends_a_body_is_its_end(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    held.send_head(200, FRESH).send(b"until close").close()
    answer = client.response()
    assert (answer.body, answer.end, answer.framing) == (b"until close", "clean", "chunked")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("status", [404, 410, 500, 502, 503, 504])
def test_an_error_is_shared_by_those_who_wait_and_by_nobody_later(lab, status, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    held.respond(status, {"X-Which": "1"}, b"the origin's own words")
    for answer in crowd.responses():
        assert (answer.status, answer.body, answer["X-Which"]) == (status, b"the origin's own words", "1")
        assert "stored" not in answer.cache
    assert origin.count() == 1
    origin.on("/x", cacheable("back"))
    answer = lab.ask(shield, "/x")
    assert (answer.status, answer.body) == (200, b"back")
    assert origin.count() == 2


@pytest.mark.parametrize("leader", ["a range", "the whole"])
def test_an_error_is_shared_by_ranges_too(lab, leader):
    """DESIGN section 4, failure is a shared outcome: a 503 has no parts, so nobody is released with his Range."""
    origin = lab.origin()
    shield = lab.shield(origin)
    part = {"Range": "bytes=0-1"}
    first = lab.client(shield).request("/x", **(part if leader == "a range" else {}))
    held = origin.expect("/x")
    crowd = lab.crowd(shield, 10).get("/x", **part)
    shield.wait_metric("collapsed_requests_total", 10)
    origin.on("/x", Reply("a second fetch"))
    held.respond(503, body=b"busy")
    assert {(a.status, a.body) for a in [first.response()] + crowd.responses()} == {(503, b"busy")}
    assert origin.count() == 1


def test_a_404_with_a_lifetime_is_stored(lab):
    origin = lab.origin().on("/x", Reply("none here", 404, Cache_Control="max-age=60"))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x").status == 404
    answer = lab.ask(shield, "/x")
    assert answer.status == 404 and answer.cache["hit"]
    assert origin.count() == 1


@pytest.mark.parametrize("status, others", [(500, 502), (503, 503)])
@pytest.mark.parametrize("fields", [{"Cache-Control": "private"}, {"Set-Cookie": "id=1"}], ids=["private", "cookie"])
def test_a_private_error_is_its_own_clients_only(lab, status, others, fields):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    held.respond(status, fields, b"secret")
    answers = crowd.responses()
    secret = [a for a in answers if a.body == b"secret"]
    assert len(secret) == 1 and secret[0].status == status
    for answer in answers:
        if answer is not secret[0]:
            assert answer.status == others and has_proxy_status(answer)
            assert "Set-Cookie" not in answer.fields
    assert origin.count() == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hang_is_504_for_all(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"origins.default.head_timeout": "1s"})
    crowd = lab.crowd(shield, 50).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 49)
    for answer in crowd.responses():
        assert answer.status == 504 and has_proxy_status(answer)
    held.wait_closed()
    shield.wait_metric("flights", 0)
    assert origin.count() == 1
    shield.wait_metric("waiter_fates_total", 50, fate="error")
    shield.wait_metric("requests_total", 50, result="error")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refused_connection_is_502_for_all(lab, workers):
    shield = lab.shield(lab.dead_port(), workers=workers)
    for answer in lab.crowd(shield, 50).get("/x").responses():
        assert answer.status == 502 and has_proxy_status(answer)
    shield.wait_metric("flights", 0)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_dies_before_the_head_is_502_for_all(lab, how):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    getattr(held, how)()
    for answer in crowd.responses():
        assert answer.status == 502 and has_proxy_status(answer)
    assert origin.count() == 1


@pytest.mark.parametrize("raw", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
], ids=lambda raw: raw[:60].decode("latin-1").replace("\r\n", "|"))
def test_a_lying_head_is_502_for_all(lab, raw):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 5).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 4)
    held.send(raw)
    for answer in crowd.responses():
        assert answer.status == 502 and has_proxy_status(answer)
    held.wait_closed()
    assert origin.count() == 1


def test_bytes_behind_an_answer_are_never_another_answer(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/one")
    origin.expect("/one").send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\n"
                               b"Cache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil").finish()
    assert client.response().body == b"one"
    origin.on("/two", cacheable("two"))
    assert lab.ask(shield, "/two").body == b"two"


def test_an_origin_that_stops_within_the_body_is_cut(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.body_timeout": "1s"})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    held.send_head(200, FRESH, length=10).send(b"half")
    for answer in crowd.responses():
        assert answer.is_cut and answer.body == b"half"
    held.wait_closed()
    origin.on("/x", cacheable("whole"))
    assert lab.ask(shield, "/x").body == b"whole"


def test_those_who_wait_too_long_get_504(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.waiter_timeout": "1s"})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    for answer in crowd.responses():
        assert answer.status == 504 and has_proxy_status(answer)
    shield.wait_metric("waiter_fates_total", 10, fate="timeout")
    held.close()


def test_too_many_waiters_get_503(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.max_waiters": "5"})
    crowd = lab.crowd(shield, 8).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("limit_reached_total", 3, limit="flight.max_waiters")
    held.respond(200, FRESH, b"hello")
    answers = crowd.responses()
    assert sorted(a.status for a in answers) == [200] * 5 + [503] * 3
    for answer in answers:
        if answer.status == 503:
            assert int(answer["Retry-After"]) >= 1 and has_proxy_status(answer)
    assert origin.count() == 1


def test_the_limit_of_the_origin_queues_and_then_refuses(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": "1", "origins.default.max_queued": "1"})
    one = lab.client(shield).request("/1")
    held = origin.expect("/1")
    two = lab.client(shield).request("/2")
    shield.wait_metric("origin_queue_depth", 1)
    shield.wait_metric("origin_inflight", 1)
    refused = lab.ask(shield, "/3")
    assert refused.status == 503 and int(refused["Retry-After"]) >= 1
    shield.wait_metric("limit_reached_total", 1, limit="origins.max_queued")
    held.respond(200, FRESH, b"one")
    assert one.response().body == b"one"
    origin.expect("/2").respond(200, FRESH, b"two")
    assert two.response().body == b"two"
    assert origin.count() == 2


def test_waiting_too_long_in_the_queue_is_503(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": "1", "origins.default.queue_timeout": "500ms"})
    one = lab.client(shield).request("/1")
    held = origin.expect("/1")
    late = lab.ask(shield, "/2")
    assert late.status == 503 and int(late["Retry-After"]) >= 1
    held.respond(200, FRESH, b"one")
    assert one.response().body == b"one"
