"""What is bounded: at each bound stale where that is permitted, else 503 with Retry-After, and a counter."""
import os
import time

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply

FRESH = {"Cache-Control": "max-age=60"}


def is_refusal(answer):
    return answer.status == 503 and int(answer["Retry-After"]) >= 1 and "error=" in answer["Proxy-Status"]


def is_stale(answer):
    return answer.status == 200 and answer.cache["hit"] and answer.cache["ttl"] < 0 and answer.body == b"old"


class Full:
    """A shield whose bound `limit` is reached as long as the request `held` is not answered."""

    def __init__(self, lab, limit, sets, workers, waiters=1):
        self.lab, self.limit = lab, limit
        self.origin = lab.origin()
        self.shield = lab.shield(self.origin, sets={"stale.if_overloaded": "1h", **sets}, workers=workers)
        self.origin.on("/old", Reply(b"old", Cache_Control=f"max-age={LIFE_S}"))
        lab.ask(self.shield, "/old")
        stored_at = time.time()
        self.origin.hold("/old")
        outlive(stored_at)
        self.crowd = lab.crowd(self.shield, waiters).get("/first")
        self.held = self.origin.expect("/first")
        self.shield.wait_metric("waiters", waiters)

    def refuses(self, target="/second"):
        before = self.shield.metric("limit_reached_total", limit=self.limit)
        assert is_refusal(self.lab.ask(self.shield, target))
        self.shield.wait_metric("limit_reached_total", lambda n: n > before, limit=self.limit)

    def serves_stale(self):
        before = self.shield.metric("limit_reached_total", limit=self.limit)
        assert is_stale(self.lab.ask(self.shield, "/old"))
        self.shield.wait_metric("limit_reached_total", lambda n: n > before, limit=self.limit)
        assert self.origin.count() == 2

    def ends(self):
        """The bound is not reached any more."""
        self.held.respond(200, FRESH, b"first")
        assert {a.body for a in self.crowd.responses()} == {b"first"}
        self.origin.on("/third", Reply(b"third", headers=FRESH.items()))
        self.shield.wait_metric("flights", 0)
        self.shield.wait_metric("waiters", 0)
        assert self.lab.ask(self.shield, "/third").body == b"third"
        self.origin.on("/old", Reply(b"new", headers=FRESH.items()))
        assert self.lab.ask(self.shield, "/old").body == b"new"


@pytest.mark.parametrize("workers", [1, 2])
def test_flights_at_once(lab, workers):
    full = Full(lab, "flight.max_flights", {"flight.max_flights": "1"}, workers)
    full.refuses()
    full.serves_stale()
    full.ends()


@pytest.mark.parametrize("workers", [1, 2])
def test_waiters_in_all(lab, workers):
    full = Full(lab, "flight.max_waiters_total", {"flight.max_waiters_total": "3"}, workers, waiters=3)
    full.refuses("/first")
    full.refuses()
    full.serves_stale()
    full.ends()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_queue_of_the_origin(lab, workers):
    full = Full(lab, "origins.max_queued", {"origins.default.max_concurrent": "1", "origins.default.max_queued": "0"},
                workers)
    full.refuses()
    full.serves_stale()
    full.ends()


def test_the_time_in_the_queue_of_the_origin(lab):
    full = Full(lab, "origins.queue_timeout",
                {"origins.default.max_concurrent": "1", "origins.default.queue_timeout": "300ms"}, 1)
    full.refuses()
    full.serves_stale()
    full.ends()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunked", [False, True])
def test_bytes_in_the_air_in_all(lab, workers, chunked):
    """Several fetches, and together more in the air than there may be: nobody else starts; they end well."""
    full = Full(lab, "flight.max_bytes_total", {"flight.max_bytes_total": "256k"}, workers)
    bodies = [os.urandom(1_000_000) for _ in range(5)]
    readers = [lab.client(full.shield).request(f"/part{i}") for i in range(5)]
    fetches = [full.origin.expect(f"/part{i}") for i in range(5)]
    for fetch, reader, body in zip(fetches, readers, bodies):
        fetch.send_head(200, FRESH, length=None if chunked else len(body), chunked=chunked)
        fetch.chunk(body[:60_000]) if chunked else fetch.send(body[:60_000])
        reader.body(60_000)
    full.refuses()
    before = full.origin.count()
    assert is_stale(lab.ask(full.shield, "/old"))
    assert is_refusal(lab.ask(full.shield, "/post", "POST", body=b"x"))
    assert full.origin.count() == before
    for fetch, reader, body in zip(fetches, readers, bodies):
        fetch.chunk(body[60_000:]) if chunked else fetch.send(body[60_000:])
        fetch.last_chunk() if chunked else fetch.finish()
        assert reader.response().body == body
    full.ends()


def test_bytes_in_the_air_go_down_as_objects_land(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.max_bytes_total": "256k"})
    for i in range(20):  # far more than the bound in all, each below it
        origin.on(f"/{i}", Reply(os.urandom(60_000), headers=FRESH.items()))
        assert lab.ask(shield, f"/{i}").status == 200
    assert all(lab.ask(shield, f"/{i}").cache["hit"] for i in range(20))
    assert shield.metric("limit_reached_total", limit="flight.max_bytes_total") == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_waits_for_the_end_of_what_is_not_kept_any_more(lab, workers):
    """A small body that has to be validated is told to all when it is whole: not when it has to be let go on its way."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"flight.max_bytes_total": "64k"})
    body = os.urandom(1_000_000)
    fields = {"Cache-Control": "no-cache", "ETag": '"1"'}
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    origin.on("/x", Reply(body, headers=fields.items()))
    held.send_head(200, fields, length=len(body))
    held.send(body)
    held.finish()
    assert all(a.body == body or a.status == 503 for a in crowd.responses())
    assert shield.metric("waiter_fates_total", fate="released") == 9
    assert shield.metric("limit_reached_total", limit="flight.waiter_timeout") == 0
