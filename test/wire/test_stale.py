"""Stale answers: who gets them, while whom the origin is asked, and who must not."""
import time

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply

BRIEF = {"Cache-Control": f"max-age={LIFE_S}"}


def store_and_outlive(lab, shield, origin, fields, body=b"version 1", target="/x"):
    """Store `body`, and come back when it is stale; the next requests for it are held at the origin."""
    origin.on(target, Reply(body, headers=fields.items()))
    assert lab.ask(shield, target).cache_status == "shield; fwd=miss; stored"
    stored_at = time.time()
    origin.hold(target)
    outlive(stored_at, LIFE_S)


def test_no_answer_from_the_origin_and_no_validator_to_ask_with(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, BRIEF)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    held.reset()
    origin.expect("/x").reset()  # the first one went over a connection that was open already: it is repeated once
    for answer in crowd.responses():
        assert answer.status == 200 and answer.body == b"version 1"
        assert answer.cache["hit"] and answer.cache["ttl"] < 0 and answer["Cache-Control"] == "max-age=0"
    shield.wait_metric("waiter_fates_total", 20, fate="stale")


# ---- stale-while-revalidate ----

SWR = {"Cache-Control": f"max-age={LIFE_S}, stale-while-revalidate=60", "ETag": '"v1"'}
FRESH = {"Cache-Control": "max-age=60"}


def looks_stale(answer, body=b"version 1"):
    control = answer["Cache-Control"].split(", ")
    return (answer.status == 200 and answer.body == body and answer.cache.get("hit") and answer.cache["ttl"] < 0
            and control[0] == "max-age=0" and not any("stale-" in d for d in control) and int(answer["Age"]) >= LIFE_S)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_are_served_at_once_while_one_refresh_runs(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    store_and_outlive(lab, shield, origin, SWR)
    answers = lab.crowd(shield, 200).get("/x").responses()
    assert all(looks_stale(a) for a in answers), answers[0]
    refresh = origin.expect("/x")
    assert (refresh.method, refresh.get("If-None-Match")) == ("GET", '"v1"')
    shield.wait_metric("flights", 1)
    assert shield.metric("waiters") == 0 and shield.flights()[0]["waiters"] == 0
    assert looks_stale(lab.ask(shield, "/x"))  # while it runs
    assert origin.count() == 2
    refresh.respond(304, {"Cache-Control": "max-age=60", "ETag": '"v1"', "X-Round": "2"})
    shield.wait_metric("flights", 0)
    hit = lab.ask(shield, "/x")
    assert hit.cache["hit"] and 0 < hit.cache["ttl"] <= 60 and hit["X-Round"] == "2" and hit.body == b"version 1"
    assert shield.metric("origin_requests_total", kind="refresh") == 1
    assert shield.metric("requests_total", result="stale") == 201
    assert shield.metric("misses_total") == 1 and origin.count() == 2


def test_a_refresh_brings_a_new_version(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, {"Cache-Control": SWR["Cache-Control"]})  # nothing to validate with
    assert looks_stale(lab.ask(shield, "/x"))
    refresh = origin.expect("/x")
    assert "If-None-Match" not in refresh
    refresh.send_head(200, FRESH, length=9).send(b"versi")
    assert looks_stale(lab.ask(shield, "/x"))  # until it is whole
    refresh.send(b"on 2")
    refresh.finish()
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/x").body == b"version 2"
    assert origin.count() == 2


def test_a_refresh_holds_up_nobodys_connection(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, SWR)
    origin.on("/other", Reply(b"other", headers=FRESH.items()))
    client = lab.client(shield)
    assert looks_stale(client.ask("/x"))
    refresh = origin.expect("/x")
    assert client.ask("/other").body == b"other" and looks_stale(client.ask("/x"))
    client.close()
    refresh.respond(200, FRESH, b"version 2")
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/x").body == b"version 2"


def test_a_head_is_served_stale_and_refreshes_the_content_too(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, SWR)
    answer = lab.ask(shield, "/x", "HEAD")
    assert answer.cache["hit"] and answer.cache["ttl"] < 0 and answer["Content-Length"] == "9"
    refresh = origin.expect("/x")
    assert refresh.method == "GET"
    refresh.respond(200, FRESH, b"version 2")
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/x").body == b"version 2"


@pytest.mark.parametrize("more", ["must-revalidate", "proxy-revalidate", "no-cache", f"s-maxage={LIFE_S}"])
def test_what_forbids_stale_answers_makes_everyone_wait_for_one_validation(lab, more):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.uncacheable_ttl": "0"})
    store_and_outlive(lab, shield, origin, {**SWR, "Cache-Control": SWR["Cache-Control"] + ", " + more})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("waiters", 10)
    held.respond(304, {"Cache-Control": "max-age=60", "ETag": '"v1"'})
    assert {(a.status, a.body, a["Cache-Control"]) for a in crowd.responses()} == {(200, b"version 1", "max-age=60")}
    assert origin.count() == 2


def test_beyond_its_time_everyone_waits_for_one_validation(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin,
                      {**SWR, "Cache-Control": f"max-age={LIFE_S}, stale-while-revalidate=0"})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    held.respond(304, {"Cache-Control": "max-age=60", "ETag": '"v1"'})
    assert {a.body for a in crowd.responses()} == {b"version 1"}
    assert shield.metric("requests_total", result="stale") == 0 and origin.count() == 2


def test_conditions_and_ranges_hold_for_a_stale_answer(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, SWR)
    same = lab.ask(shield, "/x", If_None_Match='"v1"')
    assert same.status == 304 and same["Cache-Control"] == "max-age=0" and same["X-Accel-Expires"] == "@1"
    part = lab.ask(shield, "/x", Range="bytes=0-3")
    assert (part.status, part.body, part["Cache-Control"]) == (206, b"vers", "max-age=0")
    origin.expect("/x").respond(304, FRESH)
    assert origin.count() == 2


@pytest.mark.parametrize("how", ["503", "reset", "cut"])
def test_a_failed_refresh_leaves_the_origin_alone_for_a_while(lab, how):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.error_ttl": "1h", "flight.error_ttl_max": "1h"})
    store_and_outlive(lab, shield, origin, SWR)
    assert looks_stale(lab.ask(shield, "/x"))
    refresh = origin.expect("/x")
    if how == "503":
        refresh.respond(503)
    elif how == "reset":
        refresh.reset()
        origin.expect("/x").reset()  # repeated once: it went over a used connection
    else:
        refresh.send_head(200, FRESH, length=100).send(b"a")
        refresh.reset()
    shield.wait_metric("flights", 0)
    before = origin.count()
    assert looks_stale(lab.ask(shield, "/x"))
    if how == "cut":  # that was an answer: it is asked again
        origin.expect("/x").respond(200, FRESH, b"version 2")
    else:
        assert lab.crowd(shield, 20).get("/x").responses()[0].body == b"version 1"
        assert shield.metric("flights") == 0 and origin.count() == before


@pytest.mark.parametrize("status, fields, kept", [(404, {}, False), (410, {}, False), (429, {}, True),
                                                  (200, {"Cache-Control": "private"}, False),
                                                  (200, {"Cache-Control": "no-store"}, False)])
def test_an_answer_that_is_not_stored_ends_what_was(lab, status, fields, kept):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.uncacheable_ttl": "0"})
    store_and_outlive(lab, shield, origin, SWR)
    assert looks_stale(lab.ask(shield, "/x"))
    origin.expect("/x").respond(status, fields, b"not for all")
    shield.wait_metric("flights", 0)
    client = lab.client(shield).request("/x")
    if kept:
        assert looks_stale(client.response())
    held = origin.expect("/x")
    assert ("If-None-Match" in held) == kept
    held.respond(200, FRESH, b"version 2")
    shield.wait_metric("flights", 0)
    if not kept:
        assert client.response().body == b"version 2"


def test_a_variant_is_refreshed_by_itself(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    fields = {**SWR, "Vary": "Accept-Language"}
    for language in ("de", "fr"):
        client = lab.client(shield).request("/x", Accept_Language=language)
        origin.expect("/x").respond(200, fields, language.encode())
        assert client.response().body == language.encode()
    outlive(time.time(), LIFE_S)
    for language in ("de", "fr", "de"):
        assert looks_stale(lab.ask(shield, "/x", Accept_Language=language), language.encode())
    both = [origin.expect("/x"), origin.expect("/x")]
    assert sorted(r.get("Accept-Language") for r in both) == ["de", "fr"]
    assert shield.metric("flights") == 2
    for refresh in both:
        refresh.respond(200, {**FRESH, "Vary": "Accept-Language"}, b"new " + refresh.get("Accept-Language").encode())
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/x", Accept_Language="de").body == b"new de"
    assert origin.count() == 4


def test_stale_from_disk_after_a_restart(lab, tmp_path):
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store")
    origin.on("/x", Reply(b"version 1", headers=SWR.items()))
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.hold("/x")
    shield.wait_stored()
    shield.kill()
    outlive(stored_at)
    shield = lab.shield(origin, store=tmp_path / "store", workers=2)
    assert all(looks_stale(a) for a in lab.crowd(shield, 50).get("/x").responses())
    refresh = origin.expect("/x")
    assert refresh.get("If-None-Match") == '"v1"'
    refresh.respond(304, {**FRESH, "ETag": '"v1"'})
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/x").cache["ttl"] > 0
    assert origin.count() == 2


def test_an_unsafe_request_fences_a_refresh(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, SWR)
    assert looks_stale(lab.ask(shield, "/x"))
    refresh = origin.expect("/x")
    write = lab.client(shield).request("/x", "POST", body=b"new")
    posted = origin.expect("/x")
    posted.read_body()
    posted.respond(200)
    assert write.response().status == 200
    refresh.respond(304, {**FRESH, "ETag": '"v1"'})  # of before the change
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert "If-None-Match" not in held
    held.respond(200, FRESH, b"version 2")
    assert client.response().body == b"version 2"


# ---- stale-if-error ----

SIE = {"Cache-Control": f"max-age={LIFE_S}, stale-if-error=60", "ETag": '"v1"'}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_hidden_from_everyone(lab, status, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"flight.error_ttl": "1h", "flight.error_ttl_max": "1h"})
    store_and_outlive(lab, shield, origin, SIE)
    crowd = lab.crowd(shield, 100).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 99)
    held.respond(status, body=b"broken")
    assert all(looks_stale(a) for a in crowd.responses())
    shield.wait_metric("waiter_fates_total", 100, fate="stale")
    assert looks_stale(lab.ask(shield, "/x"))  # and the origin has its peace
    assert origin.count() == 2


@pytest.mark.parametrize("status", [404, 501, 505, 429])
def test_other_answers_are_not_hidden(lab, status):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, SIE)
    client = lab.client(shield).request("/x")
    origin.expect("/x").respond(status, body=b"said")
    answer = client.response()
    assert (answer.status, answer.body) == (status, b"said")


@pytest.mark.parametrize("control", [f"max-age={LIFE_S}", f"max-age={LIFE_S}, stale-if-error=0",
                                     f"max-age={LIFE_S}, stale-if-error=60, must-revalidate",
                                     f"max-age={LIFE_S}, s-maxage={LIFE_S}, stale-if-error=60"])
def test_an_error_is_told_where_stale_is_not_allowed(lab, control):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, {**SIE, "Cache-Control": control})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    held.respond(500, body=b"broken")
    assert {(a.status, a.body) for a in crowd.responses()} == {(500, b"broken")}
    assert origin.count() == 2


# ---- Retry-After ----

@pytest.mark.parametrize("workers", [1, 2])
def test_retry_after_is_heeded_for_its_key(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 50).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 49)
    held.respond(503, {"Retry-After": "30"}, b"later")
    assert {(a.status, a.body, a["Retry-After"]) for a in crowd.responses()} == {(503, b"later", "30")}
    answer = lab.ask(shield, "/x")
    assert answer.status == 503 and 0 < int(answer["Retry-After"]) <= 30 and "error=" in answer["Proxy-Status"]
    other = lab.client(shield).request("/y")
    origin.expect("/y").respond(200, FRESH, b"y")
    assert other.response().body == b"y"
    assert origin.count() == 2


def test_retry_after_is_held_down_and_ends(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.retry_after_max": "1s"})
    origin.on("/x", Reply(b"later", 503, Retry_After="3600"))
    began = time.monotonic()
    assert lab.ask(shield, "/x")["Retry-After"] == "3600"
    origin.on("/x", Reply(b"here", headers=FRESH.items()))
    answer = lab.ask(shield, "/x")
    while answer.status == 503:
        assert answer["Retry-After"] == "1" and time.monotonic() - began < 15
        time.sleep(0.05)
        answer = lab.ask(shield, "/x")
    assert answer.body == b"here" and time.monotonic() - began >= 1 and origin.count() == 2


def test_a_503_that_may_not_be_shared_holds_nobody_back(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    origin.on("/x", Reply(b"later", 503, Retry_After="30", Cache_Control="private"))
    assert lab.ask(shield, "/x").status == 503
    origin.on("/x", Reply(b"here", headers=FRESH.items()))
    assert lab.ask(shield, "/x").body == b"here"


# ---- before it is stale ----

def test_early_refresh_by_chance(lab):
    """XFetch: a fetch that took long is refreshed before it expires, while everyone is served what is fresh."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"cache.early_refresh": "100"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    time.sleep(0.5)  # what the fetch costs
    held.respond(200, {"Cache-Control": "max-age=60", "ETag": '"v1"'}, b"version 1")
    assert client.response().body == b"version 1"
    for _ in range(1000):
        answer = client.ask("/x")
        assert answer.cache["hit"] and answer.cache["ttl"] > 0 and answer.body == b"version 1"
        if shield.metric("flights") == 1:
            break
    refresh = origin.expect("/x")
    assert refresh.get("If-None-Match") == '"v1"'
    refresh.respond(200, FRESH, b"version 2")
    shield.wait_metric("flights", 0)
    assert client.ask("/x").body == b"version 2"
    assert shield.metric("origin_requests_total", kind="refresh") == 1
    assert shield.metric("requests_total", result="stale") == 0


def test_no_early_refresh_unless_it_is_switched_on(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    time.sleep(0.5)
    held.respond(200, FRESH, b"version 1")
    assert client.response().status == 200
    assert all(client.ask("/x").cache["hit"] for _ in range(300))
    assert origin.count() == 1


def test_keys_that_are_filled_together_do_not_expire_together(lab):
    origin = lab.origin()
    lifetimes = {}
    for jitter in (0, 50):
        shield = lab.shield(origin, sets={"cache.ttl_jitter": jitter})
        for i in range(30):
            origin.on(f"/{i}", Reply(b"x", Cache_Control="max-age=100000"))
            assert lab.ask(shield, f"/{i}")["Cache-Control"] == "max-age=100000"
        answers = [lab.ask(shield, f"/{i}") for i in range(30)]
        lifetimes[jitter] = [a.cache["ttl"] + int(a["Age"]) for a in answers]
    assert set(lifetimes[0]) == {100000}
    assert min(lifetimes[50]) >= 50000 and max(lifetimes[50]) <= 100000
    assert max(lifetimes[50]) - min(lifetimes[50]) > 20000 and len(set(lifetimes[50])) > 20


def test_refreshes_give_way_to_those_who_wait(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": "1"})
    store_and_outlive(lab, shield, origin, SWR)
    busy = lab.client(shield).request("/busy")
    held = origin.expect("/busy")
    assert looks_stale(lab.ask(shield, "/x"))  # its refresh is the first in the queue
    shield.wait_metric("origin_queue_depth", 1)
    waits = lab.client(shield).request("/waits")
    shield.wait_metric("origin_queue_depth", 2)
    held.respond(200, FRESH, b"busy")
    origin.expect("/waits").respond(200, FRESH, b"waits")
    refresh = origin.expect("/x")
    refresh.respond(200, FRESH, b"version 2")
    assert busy.response().body == b"busy" and waits.response().body == b"waits"
    assert [r.target for r in origin.requests()[1:]] == ["/busy", "/waits", "/x"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refresh_that_somebody_waits_for_is_not_in_the_background(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"origins.default.max_concurrent": "1"})
    store_and_outlive(lab, shield, origin, {"Cache-Control": f"max-age={LIFE_S}, stale-while-revalidate=2"})
    busy = lab.client(shield).request("/busy")
    held = origin.expect("/busy")
    assert looks_stale(lab.ask(shield, "/x"))
    shield.wait_metric("origin_queue_depth", 1)
    outlive(time.time(), 2)
    joined = lab.crowd(shield, 10).get("/x")
    shield.wait_metric("waiters", 11)
    shield.wait_metric("origin_queue_depth", 1)
    later = lab.client(shield).request("/later")
    shield.wait_metric("origin_queue_depth", 2)
    held.respond(200, FRESH, b"busy")
    origin.expect("/x").respond(200, FRESH, b"version 2")
    assert {a.body for a in joined.responses()} == {b"version 2"}
    origin.expect("/later").respond(200, FRESH, b"later")
    assert busy.response().body == b"busy" and later.response().body == b"later"
