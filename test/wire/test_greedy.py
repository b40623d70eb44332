"""Clients that want more than their share: connections, requests, time, memory. Each bound answers, is counted, and lets
the others go on."""
import os
import resource
import select
import socket

import pytest

from http_text import request_bytes
from patience import until
from raw_client import reset
from scripted_origin import cacheable

FRESH = {"Cache-Control": "max-age=60"}
OTHERS = "127.0.0.2"  # an address that is not the tests' own


def warm(lab, **kw):
    origin = lab.origin().on_all(lambda request: cacheable(request.target))
    return origin, lab.shield(origin, **kw)


def limited(shield, limit):
    return shield.metric("limit_reached_total", limit=limit)


def descriptors(shield):
    return len(os.listdir(f"/proc/{shield.process.pid}/fd"))


def knock(lab, shield):
    """Connect, and nothing more; None when the connection is gone before connect() is through."""
    try:
        return lab.client(shield)
    except ConnectionError:
        return None


def is_refusal(answer, status):
    return answer.status == status and "error=" in answer["Proxy-Status"] and int(answer["Retry-After"]) >= 1


# all connections

@pytest.mark.parametrize("workers", [1, 2])
def test_who_is_idle_makes_room(lab, workers):
    """client.max_connections: of those who have had their answers the one goes that has been idle longest on its loop."""
    _, shield = warm(lab, workers=workers, sets={"client.max_connections": "3"})
    clients = [lab.client(shield) for _ in range(3)]
    for client in clients:
        assert client.ask("/x").status == 200
    for _ in range(3):
        assert lab.ask(shield, "/x").status == 200
    gone = select.select([c.sock for c in clients], [], [], 0)[0]
    assert gone and (workers > 1 or gone == [clients[0].sock])
    assert limited(shield, "client.max_connections") >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_idle(lab, workers):
    """503 with Retry-After and a proper end, whatever the client has sent already; those who are served go on."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"client.max_connections": "3"})
    crowd = lab.crowd(shield, 3).get("/busy")
    held = origin.expect("/busy")
    shield.wait_metric("waiters", 3)
    for _ in range(5):
        client = lab.client(shield).request("/x")
        answer = client.response()
        assert is_refusal(answer, 503) and answer["Connection"] == "close" and client.at_end()
    assert limited(shield, "client.max_connections") == 5
    assert shield.metric("refusals_total", reason="client.max_connections") == 5
    held.respond(200, FRESH, b"busy")
    assert {a.body for a in crowd.responses()} == {b"busy"}
    assert lab.ask(shield, "/busy").status == 200


def test_one_that_has_just_come_is_not_idle(lab):
    """Its request is on the way: to let it go for the next one would serve neither."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.max_connections": "2"})
    busy = lab.client(shield).request("/busy")
    held = origin.expect("/busy")
    first = lab.client(shield)
    shield.wait_metric("client_connections", 2)
    assert lab.client(shield).response().status == 503
    first.request("/busy")
    shield.wait_metric("waiters", 2)
    held.respond(200, FRESH, b"busy")
    assert first.response().body == busy.response().body == b"busy"


def test_those_who_only_connect_make_room_after_a_moment(lab):
    _, shield = warm(lab, sets={"client.max_connections": "20"})
    mute = [lab.client(shield) for _ in range(10)]
    halves = [lab.client(shield).send(b"GET / HT") for _ in range(10)]
    shield.wait_metric("client_connections", 20)
    until("there is room again", lambda: lab.ask(shield, "/x").status == 200)
    for _ in range(20):
        assert lab.ask(shield, "/x").status == 200
    assert mute[0].at_end() and halves  # nobody is left to make room for those who still have it


def test_many_who_are_turned_away_do_not_stay(lab):
    """Only some get an answer at a time: the answers would need the room that there is not."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.max_connections": "2"})
    crowd = lab.crowd(shield, 2).get("/busy")
    held = origin.expect("/busy")
    shield.wait_metric("waiters", 2)
    flood = [knock(lab, shield) for _ in range(400)]
    shield.wait_metric("limit_reached_total", 400, limit="client.max_connections")
    assert shield.metric("client_connections") <= 2 + 65
    for client in filter(None, flood):
        client.close()
    held.respond(200, FRESH, b"busy")
    assert {a.body for a in crowd.responses()} == {b"busy"}
    shield.wait_metric("client_connections", lambda n: n <= 2)
    assert lab.ask(shield, "/busy").status == 200


# one address

@pytest.mark.parametrize("workers", [1, 2])
def test_connections_of_one_address(lab, workers):
    _, shield = warm(lab, workers=workers, sets={"client.max_connections_per_ip": "4"})
    clients = [lab.client(shield) for _ in range(4)]
    for client in clients:
        assert client.ask("/x").status == 200
    for _ in range(3):
        client = lab.client(shield).request("/x")
        answer = client.response()
        assert is_refusal(answer, 429) and answer["Connection"] == "close" and client.at_end()
    assert lab.client(shield, source=OTHERS).ask("/x").status == 200
    assert limited(shield, "client.max_connections_per_ip") == 3
    assert shield.metric("refusals_total", reason="client.max_connections_per_ip") == 3
    clients[0].close()
    until("there is room again", lambda: lab.ask(shield, "/x").status == 200)
    for client in clients[1:]:
        assert client.ask("/x").status == 200


def test_a_flood_from_one_address(lab):
    _, shield = warm(lab, sets={"client.max_connections_per_ip": "4"})
    flood = [knock(lab, shield) for _ in range(300)]
    shield.wait_metric("limit_reached_total", 296, limit="client.max_connections_per_ip")
    assert shield.metric("client_connections") <= 4 + 65
    assert lab.client(shield, source=OTHERS).ask("/x").status == 200
    for client in filter(None, flood):
        client.close()
    until("there is room again", lambda: lab.ask(shield, "/x").status == 200)


def test_requests_of_one_address(lab):
    """A token bucket: the burst at once, then the rate; on the same connection and on others."""
    origin, shield = warm(lab, workers=2, sets={"client.max_requests_per_ip": "1", "client.requests_burst_per_ip": "5"})
    client = lab.client(shield)
    answers = [client.ask("/x") for _ in range(4)] + [lab.ask(shield, "/x")]
    assert [a.status for a in answers] == [200] * 5
    refused = client.ask("/x")
    assert is_refusal(refused, 429) and int(refused["Retry-After"]) == 1
    assert refused.get("Connection", "").lower() != "close"
    assert shield.metric("refusals_total", reason="client.max_requests_per_ip") >= 1
    assert lab.client(shield, source=OTHERS).ask("/x").status == 200
    until("there is a token again", lambda: client.ask("/x").status == 200)
    assert limited(shield, "client.max_requests_per_ip") >= 1
    assert origin.count() == 1


def test_what_is_refused_by_rate_is_not_read(lab):
    """A refused request with content ends the connection: nothing of the content is taken for a request."""
    origin, shield = warm(lab, sets={"client.max_requests_per_ip": "1", "client.requests_burst_per_ip": "1"})
    client = lab.client(shield)
    client.send(request_bytes("/x") + request_bytes("/up", "POST", body=request_bytes("/smuggled")) + request_bytes("/y"),
                ["GET", "POST"])
    assert client.response().status == 200
    answer = client.response()
    assert is_refusal(answer, 429) and answer["Connection"] == "close" and client.at_end()
    assert [r.target for r in origin.requests()] == ["/x"]


@pytest.mark.parametrize("sets", [{"client.max_connections_per_ip": "1"}, {"client.max_requests_per_ip": "1"}])
def test_who_is_not_limited(lab, tmp_path, sets):
    path = str(tmp_path / "s.sock")
    _, shield = warm(lab, listen=[f"unix:{path}", "127.0.0.1:0"], sets={**sets, "edges.trusted": "127.0.0.0/8"})
    for address in shield.listen:
        clients = [lab.client(address) for _ in range(5)]
        for _ in range(3):
            assert {c.ask("/x").status for c in clients} == {200}


def test_limits_of_an_address_can_be_reloaded(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x"))
    path = tmp_path / "shield.yaml"
    path.write_text(f"origins: {{ default: {{ servers: [{origin.url}] }} }}\n")
    shield = lab.shield(args=["-c", path])
    old = [lab.client(shield) for _ in range(3)]
    assert {c.ask("/x").status for c in old} == {200}
    path.write_text(path.read_text() + "client: { max_connections_per_ip: 1 }\n")
    mark = shield.log_mark()
    shield.send_signal(1)
    shield.wait_log("reload: done", since=mark)
    assert {c.ask("/x").status for c in old} == {200}  # counted or not, nobody is cut
    until("the new limit holds", lambda: limited(shield, "client.max_connections_per_ip") >= 1 or
          {lab.client(shield).ask("/x").status for _ in range(2)} == {200, 429})
