"""A stampede on a cold key: one fetch, streamed to everyone, whoever leaves."""
import os

import pytest

from patience import until
from scripted_origin import Reply

FRESH = {"Cache-Control": "max-age=60"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thousand_clients_one_fetch(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    body = os.urandom(65536)
    crowd = lab.crowd(shield, 1000).get("/hot")
    held = origin.expect("/hot")
    shield.wait_metric("collapsed_requests_total", 999)

    shield.wait_metric("flights", 1)
    shield.wait_metric("waiters", 1000)
    (flight,) = shield.flights()
    assert "/hot" in flight["key"] and flight["waiters"] == 1000 and flight["bytes"] == 0
    assert set(flight) >= {"key", "state", "age_s", "waiters", "bytes"}

    held.respond(200, FRESH, body)
    answers = crowd.responses()
    assert {(a.status, a.end) for a in answers} == {(200, "clean")}
    assert all(a.body == body for a in answers)
    said = sorted(a.cache_status for a in answers)
    assert said == ["shield; fwd=miss; collapsed"] * 999 + ["shield; fwd=miss; stored"]

    shield.wait_metric("flights", 0)
    shield.wait_metric("requests_total", 1000)
    shield.wait_metric("requests_total", 1, result="miss")
    shield.wait_metric("requests_total", 999, result="collapsed")
    shield.wait_metric("flights_started_total", 1)
    assert shield.metric("origin_requests_total") == shield.metric("origin_requests_total", kind="miss") == 1
    shield.wait_metric("origin_responses_total", 1)
    shield.wait_metric("waiter_fates_total", 1000, fate="served")
    shield.wait_metric("waiters", 0)
    assert lab.ask(shield, "/hot").cache["hit"]
    assert origin.count() == 1


def test_several_keys_are_several_flights(lab):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    crowds = {key: lab.crowd(shield, 20).get(key) for key in ("/a", "/b", "/b?x=1")}
    held = {key: origin.expect(key) for key in crowds}
    shield.wait_metric("collapsed_requests_total", 57)
    shield.wait_metric("flights", 3)
    for key, request in held.items():
        request.respond(200, FRESH, key.encode())
    for key, crowd in crowds.items():
        assert {a.body for a in crowd.responses()} == {key.encode()}
    assert origin.count() == 3


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_body_streams_while_it_arrives(lab, workers, framing):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    body = os.urandom(300_000)
    crowd = lab.crowd(shield, 50).get("/stream")
    held = origin.expect("/stream")
    shield.wait_metric("collapsed_requests_total", 49)

    say = held.chunk if framing == "chunked" else held.send
    held.send_head(200, FRESH, length=len(body) if framing == "length" else None, chunked=framing == "chunked")
    crowd.until("at the head", lambda a: a.has_head)
    say(body[:1])
    crowd.body(1)
    say(body[1:100_000])
    crowd.body(100_000)

    late = lab.client(shield).request("/stream")
    assert late.body(100_000) == body[:100_000]
    assert "collapsed" in late.head().cache
    say(body[100_000:])
    held.last_chunk() if framing == "chunked" else held.finish()
    for answer in crowd.responses() + [late.response()]:
        assert (answer.body, answer.end, answer.framing) == (body, "clean", framing)
    assert origin.count() == 1
    assert lab.ask(shield, "/stream").body == body


def test_old_clients_get_an_unknown_length_until_close(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    old = lab.client(shield).request("/x", version="1.0")
    held = origin.expect("/x")
    held.send_head(200, FRESH, chunked=True).chunk(b"abc")
    assert old.body(3) == b"abc"
    held.chunk(b"def").last_chunk()
    answer = old.response()
    assert (answer.body, answer.framing, answer.end) == (b"abcdef", "close", "clean")
    assert "Transfer-Encoding" not in answer.fields


def test_the_first_client_leaves_before_the_head(lab):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    first = lab.client(shield).request("/x")
    held = origin.expect("/x")
    crowd = lab.crowd(shield, 20).get("/x")
    shield.wait_metric("collapsed_requests_total", 20)
    first.reset()
    shield.wait_metric("waiter_fates_total", 1, fate="gone")
    held.respond(200, FRESH, b"whole")
    assert {(a.body, a.end) for a in crowd.responses()} == {(b"whole", "clean")}
    assert origin.count() == 1


def test_the_first_client_leaves_within_the_body(lab):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    first = lab.client(shield).request("/x")
    held = origin.expect("/x")
    others = lab.crowd(shield, 5).get("/x")
    shield.wait_metric("collapsed_requests_total", 5)
    held.send_head(200, FRESH, length=8).send(b"half")
    first.body(4)
    others.body(4)
    first.reset()
    shield.wait_metric("waiters", 5)
    held.send(b"half").finish()
    assert {(a.body, a.end) for a in others.responses()} == {(b"halfhalf", "clean")}
    assert origin.count() == 1


def test_all_leave_and_what_is_worth_storing_is_stored(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 3).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 2)
    held.send_head(200, FRESH, length=8).send(b"half")
    crowd.body(4)
    crowd.reset()
    shield.wait_metric("waiters", 0)
    shield.wait_metric("flights", 1)
    held.send(b"half").finish()
    shield.wait_metric("flights", 0)
    answer = lab.ask(shield, "/x")
    assert answer.body == b"halfhalf" and answer.cache["hit"]
    assert origin.count() == 1


def test_all_leave_and_the_fetch_ends_with_finish_never(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.finish": "never"})
    crowd = lab.crowd(shield, 3).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 2)
    held.send_head(200, FRESH, length=8).send(b"half")
    crowd.body(4)
    crowd.reset()
    held.wait_closed()
    shield.wait_metric("flights", 0)
    origin.on("/x", Reply("new", Cache_Control="max-age=60"))
    assert lab.ask(shield, "/x").body == b"new"


def test_a_half_closed_client_is_still_answered(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    client.half_close()
    origin.expect("/x").respond(200, FRESH, b"whole")
    assert client.response().body == b"whole"


def test_a_slow_client_does_not_hold_back_the_others(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    body = os.urandom(8 << 20)
    slow = lab.client(shield).request("/big")
    held = origin.expect("/big")
    crowd = lab.crowd(shield, 5).get("/big")
    shield.wait_metric("collapsed_requests_total", 5)
    held.respond(200, FRESH, body)
    assert all(a.body == body for a in crowd.responses())
    answer = slow.response()
    assert answer.body == body and answer.end == "clean"
    assert origin.count() == 1


def test_who_never_reads_is_cut_where_the_slowest_sets_the_pace(lab):
    """Too large to be kept: the fetch waits for its slowest reader, but only for one of client.min_rate."""
    body = os.urandom(24 << 20)
    origin = lab.origin()
    shield = lab.shield(origin, sets={"store.ram": "16m", "flight.window": "1m"})

    def when_both_wait(request):
        shield.wait_metric("collapsed_requests_total", 1)
        return Reply(body, Cache_Control="max-age=60")

    origin.on("/big", when_both_wait)
    greedy = lab.client(shield).request("/big")
    fast = lab.client(shield).request("/big")
    assert fast.response().body == body
    shield.wait_metric("limit_reached_total", 1, limit="client.min_rate")
    assert greedy.response().is_cut
    assert origin.count() == 1


def test_a_pace_that_begins_within_the_body(lab):
    """DESIGN section 4, memory: what turns out too large for memory is paced from there on, and still comes to its end."""
    body = os.urandom(3 << 20)
    origin = lab.origin().on("/big", Reply(body, chunked=True, Cache_Control="max-age=60"))
    shield = lab.shield(origin, sets={"store.ram": "1m", "flight.window": "64k"})
    answer = lab.ask(shield, "/big")
    assert answer.body == body and answer.end == "clean"
    assert origin.count() == 1


def test_memory_is_of_the_object_not_of_the_waiters(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    body = os.urandom(8 << 20)
    crowd = lab.crowd(shield, 40).get("/big")
    held = origin.expect("/big")
    shield.wait_metric("collapsed_requests_total", 39)
    before = shield.rss_bytes()
    held.respond(200, FRESH, body)
    shield.wait_metric("flights", 0)
    if before and shield.is_plain:
        assert shield.rss_bytes() - before < 4 * len(body)
    assert all(a.body == body for a in crowd.responses())


def test_an_empty_body_is_shared_too(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 10).get("/empty")
    held = origin.expect("/empty")
    shield.wait_metric("collapsed_requests_total", 9)
    held.respond(200, FRESH, b"")
    assert {(a.status, a.body, a.end, a.get("Content-Length")) for a in crowd.responses()} == {(200, b"", "clean", "0")}
    assert lab.ask(shield, "/empty").cache["hit"]
    assert origin.count() == 1


def test_a_flight_behind_a_flight(lab):
    """A shield before a shield: both collapse, and neither takes the other for itself."""
    origin = lab.origin()
    inner = lab.shield(origin)
    outer = [lab.shield(f"http://127.0.0.1:{inner.address[1]}") for _ in range(2)]
    crowds = [lab.crowd(shield, 20).get("/x") for shield in outer]
    held = origin.expect("/x")
    inner.wait_metric("collapsed_requests_total", 1)
    for shield in outer:
        shield.wait_metric("collapsed_requests_total", 19)
    held.respond(200, FRESH, b"once")
    for crowd in crowds:
        assert {a.body for a in crowd.responses()} == {b"once"}
    assert origin.count() == 1


def test_flights_are_told_while_they_run(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    assert shield.flights() == []
    client = lab.client(shield).request("/x?q=1")
    held = origin.expect("/x?q=1")
    held.send_head(200, FRESH, length=10).send(b"12345")
    client.body(5)
    (flight,) = until("the flight is told", shield.flights)
    assert "edge.test/x?q=1" in flight["key"]
    assert flight["bytes"] == 5 and flight["waiters"] == 1 and flight["age_s"] >= 0
    held.send(b"67890").finish()
    client.response()
    shield.wait_metric("flights", 0)
    assert shield.flights() == []
