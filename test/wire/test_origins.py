"""Connections to the origin: names, several servers, reuse, and what is tried again."""
import os
import signal
import socket

import pytest

from patience import until
from scripted_origin import Origin, cacheable

FRESH = {"Cache-Control": "max-age=60"}


def test_an_origin_by_name(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(f"http://localhost:{origin.port}")
    for i in range(5):
        assert lab.ask(shield, f"/{i}").status == 200
    assert origin.count() == 5


def test_a_name_that_does_not_resolve(lab):
    shield = lab.shield("http://nobody.invalid:80")
    answer = lab.ask(shield, "/x")
    assert answer.status in (502, 504)
    assert answer["Proxy-Status"].startswith("shield; error=dns_")


def test_ipv6(lab):
    try:
        origin = lab.origin("::1")
    except OSError:
        with pytest.raises(OSError):
            socket.create_server(("::1", 0), family=socket.AF_INET6)
        return
    origin.on_all(cacheable("x"))
    assert lab.ask(lab.shield(origin), "/x").status == 200


@pytest.mark.parametrize("order", ["dead first", "dead last"])
def test_a_dead_server_is_passed_by(lab, order):
    origin = lab.origin().on_all(cacheable("x"))
    servers = [lab.dead_port(), origin]
    shield = lab.shield(*(servers if order == "dead first" else servers[::-1]))
    client = lab.client(shield)
    for i in range(20):
        assert client.ask(f"/{i}").status == 200
    assert origin.count() == 20


def test_a_stampede_on_an_origin_with_a_dead_server(lab):
    origin = lab.origin()
    shield = lab.shield(lab.dead_port(), origin, workers=2)
    crowd = lab.crowd(shield, 100).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 99)
    held.respond(200, FRESH, b"x")
    assert {a.body for a in crowd.responses()} == {b"x"}
    assert origin.count() == 1


def test_a_server_that_comes_back_is_used_again(lab):
    port = Origin()
    port.close()
    shield = lab.shield(f"http://127.0.0.1:{port.port}", sets={"flight.error_ttl": "10ms", "flight.error_ttl_max": "10ms"})
    for i in range(8):
        assert lab.ask(shield, f"/{i}").status in (502, 503)
    origin = lab.origin(port=port.port)
    origin.on_all(cacheable("back"))
    until("the origin answers", lambda: lab.ask(shield, "/x").status == 200)


def test_connections_are_reused(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    client = lab.client(shield)
    for i in range(20):
        client.ask(f"/{i}")
    assert (origin.count(), origin.connections) == (20, 1)


@pytest.mark.parametrize("how", ["idle_timeout 0", "origin says close", "HTTP/1.0"])
def test_connections_that_are_not_reused(lab, how):
    def answer(request):
        if how == "HTTP/1.0":
            request.send_head(200, FRESH, length=1, version="1.0").send(b"x").close()
            return None
        return cacheable("x", Connection="close") if how == "origin says close" else cacheable("x")
    origin = lab.origin().on_all(answer)
    shield = lab.shield(origin, sets={"origins.default.idle_timeout": "0"} if how == "idle_timeout 0" else None)
    for i in range(5):
        assert lab.ask(shield, f"/{i}").body == b"x"
    assert (origin.count(), origin.connections) == (5, 5)


def test_a_connection_that_the_origin_has_closed_is_not_used(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    for i in range(5):
        assert lab.ask(shield, f"/{i}").status == 200
        origin.drop_idle()
        until("it is closed", lambda: not origin.open)
    assert lab.ask(shield, "/x", "POST", body=b"x").status == 200
    assert origin.count() == 6


def test_a_get_is_repeated_once_when_a_kept_connection_dies(lab):
    origin = lab.origin().on("/warm", cacheable("warm"))
    shield = lab.shield(origin)
    lab.ask(shield, "/warm")
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert held.connection.served == 2
    held.reset()
    again = origin.expect("/x")
    assert again.connection.served == 1
    again.respond(200, FRESH, b"x")
    assert client.response().body == b"x"
    shield.wait_metric("origin_requests_total", 1, kind="retry")
    assert origin.count("/x") == 2


def test_a_connection_that_has_died_meanwhile_is_not_used(lab):
    """The request and the reset of the connection that was kept for it meet in one turn of the loop."""
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin, sets={"origins.default.head_timeout": "1h"})
    client = lab.client(shield)
    client.ask("/warm")
    assert lab.ask(shield, "/warm").cache["hit"]  # its loop has been round: what comes next comes in our order
    shield.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, shield.process.pid, os.WSTOPPED)
    client.request("/x")
    for connection in list(origin.open):
        connection.abort()
    shield.send_signal(signal.SIGCONT)
    answer = client.response()
    assert (answer.status, answer.body) == (200, b"x")
    assert origin.count("/x") == 1 and shield.metric("origin_requests_total", kind="retry") == 0


def test_a_get_is_not_repeated_twice(lab):
    origin = lab.origin().on("/warm", cacheable("warm"))
    shield = lab.shield(origin)
    lab.ask(shield, "/warm")
    client = lab.client(shield).request("/x")
    origin.expect("/x").reset()
    origin.expect("/x").reset()
    assert client.response().status == 502
    assert origin.count("/x") == 2


def test_a_get_is_not_repeated_once_an_answer_has_begun(lab):
    origin = lab.origin().on("/warm", cacheable("warm"))
    shield = lab.shield(origin)
    lab.ask(shield, "/warm")
    client = lab.client(shield).request("/x")
    origin.expect("/x").send(b"HTTP/1.1 2").reset()
    assert client.response().status == 502
    assert origin.count("/x") == 1


def test_a_hang_is_not_tried_elsewhere(lab):
    first, second = lab.origin(), lab.origin()
    shield = lab.shield(first, second, sets={"origins.default.head_timeout": "500ms"})
    client = lab.client(shield).request("/x")
    until("one of them is asked", lambda: first.count() + second.count())
    assert client.response().status == 504
    assert first.count() + second.count() == 1


def test_an_aborted_answer_does_not_spoil_the_next(lab):
    """A connection in the middle of an answer never goes back to the pool."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.finish": "never"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    held.send_head(200, FRESH, length=100).send(b"half")
    client.body(4)
    client.reset()
    held.wait_closed()
    origin.on("/y", cacheable("y"))
    assert lab.ask(shield, "/y").body == b"y"


def test_many_connections_at_once_then_few(lab):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2, sets={"origins.default.max_concurrent": "50"})
    crowd = lab.crowd(shield, 120)
    crowd.send(lambda i: f"GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    until("the limit is reached", lambda: origin.count() == 50)
    shield.wait_metric("origin_queue_depth", 70)
    shield.wait_metric("origin_inflight", 50)
    assert origin.count() == 50
    origin.on_all(lambda request: cacheable(request.target))
    for i in range(50):
        held = origin.held[0]
        origin.expect(held.target).respond(200, FRESH, held.target.encode())
    for i, answer in enumerate(crowd.responses()):
        assert answer.body == f"/{i}".encode()
    assert origin.count() == 120
    shield.wait_metric("origin_inflight", 0)
