"""A head that may not be shared: everyone is released together, and the key is remembered."""
import pytest

from scripted_origin import Reply

ALONE = [
    {"Cache-Control": "private"},
    {"Cache-Control": "private, max-age=60"},
    {"Cache-Control": "no-store"},
    {"Cache-Control": "max-age=60", "Set-Cookie": "id=1"},
    {"Cache-Control": "max-age=60", "Vary": "*"},
    {},  # no lifetime and nothing to guess one from
    {"Cache-Control": "max-age=0"},
]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fields", ALONE, ids=lambda f: ",".join(f"{k}:{v}" for k, v in f.items()) or "nothing")
def test_all_are_released_at_once_and_the_next_stampede_does_not_wait(lab, fields, workers):
    n = 20
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, n).get("/own")
    first = origin.expect("/own")
    shield.wait_metric("collapsed_requests_total", n - 1)
    first.respond(200, fields, b"for client 0")
    others = [origin.expect("/own") for _ in range(n - 1)]  # all of them before any is answered
    for i, request in enumerate(others, 1):
        request.respond(200, fields, b"for client %d" % i)
    answers = crowd.responses()
    assert sorted(a.body for a in answers) == sorted(b"for client %d" % i for i in range(n))
    released = [a for a in answers if a.body != b"for client 0"]
    assert {a.cache_status for a in released} == {"shield; fwd=uri-miss; collapsed=?0"}
    (leader,) = (a for a in answers if a.body == b"for client 0")
    assert not leader.cache.keys() & {"stored", "hit", "collapsed"}
    shield.wait_metric("waiter_fates_total", n - 1, fate="released")

    again = lab.crowd(shield, n).get("/own")
    requests = [origin.expect("/own") for _ in range(n)]
    assert shield.metric("flights") == 0
    for i, request in enumerate(requests):
        request.respond(200, fields, b"again %d" % i)
    answers = again.responses()
    assert sorted(a.body for a in answers) == sorted(b"again %d" % i for i in range(n))
    assert not any("hit" in a.cache or "collapsed" in a.cache for a in answers)
    assert origin.count() == 2 * n


def test_each_client_gets_its_own_cookie(lab):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    numbers = iter(range(1000))
    origin_answer = lambda request: Reply("hello", Cache_Control="max-age=60", Set_Cookie=f"id={next(numbers)}")  # noqa: E731
    origin.on_all(origin_answer)
    seen = []
    for _ in range(2):
        seen += [a["Set-Cookie"] for a in lab.crowd(shield, 50).get("/login").responses()]
    assert len(set(seen)) == 100
    assert shield.metric("uncacheable_total", reason="set_cookie") >= 1


def test_set_cookie_can_be_stripped(lab):
    origin = lab.origin().on("/x", Reply("hello", Cache_Control="max-age=60", Set_Cookie="id=1"))
    shield = lab.shield(origin, sets={"cache.set_cookie": "strip"})
    answers = [lab.ask(shield, "/x") for _ in range(2)]
    assert answers[1].cache["hit"]
    assert "Set-Cookie" not in answers[1].fields
    assert origin.count() == 1


def test_set_cookie_can_be_stored(lab):
    origin = lab.origin().on("/x", Reply("hello", Cache_Control="max-age=60", Set_Cookie="id=1"))
    shield = lab.shield(origin, sets={"cache.set_cookie": "store"})
    answers = [lab.ask(shield, "/x") for _ in range(2)]
    assert answers[1].cache["hit"] and answers[1]["Set-Cookie"] == "id=1"
    assert origin.count() == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_stored_for_validation_and_released(lab, workers):
    """A released client asks with the validator when the object is complete by then, else for the whole."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 5).get("/x")
    first = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 4)
    fields = {"Cache-Control": "no-cache", "ETag": '"v1"'}
    first.respond(200, fields, b"version 1")
    for _ in range(4):
        request = origin.expect("/x")
        assert request.get("If-None-Match") in (None, '"v1"')
        if "If-None-Match" in request:
            request.respond(304, fields)
        else:
            request.respond(200, fields, b"version 1")
    assert {(a.status, a.body) for a in crowd.responses()} == {(200, b"version 1")}
    later = lab.client(shield).request("/x")
    request = origin.expect("/x")
    assert request.get("If-None-Match") == '"v1"'
    request.respond(304, fields)
    assert later.response().body == b"version 1"
    assert origin.count() == 6


def test_the_cookie_of_a_request_does_not_stop_sharing(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    one = lab.client(shield).request("/x", Cookie="a=1")
    held = origin.expect("/x")
    two = lab.client(shield).request("/x", Cookie="a=2")
    shield.wait_metric("collapsed_requests_total", 1)
    held.respond(200, {"Cache-Control": "max-age=60"}, b"same")
    assert one.response().body == two.response().body == b"same"
    assert lab.ask(shield, "/x").cache["hit"]
    assert origin.count() == 1


def test_a_lifetime_is_not_guessed_when_the_request_had_a_cookie(lab):
    modified = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    origin = lab.origin().on_all(lambda request: Reply(request.get("Cookie", ""), headers=modified.items()))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x", Cookie="a=1").body == b"a=1"
    assert lab.ask(shield, "/x", Cookie="a=2").body == b"a=2"


def test_a_released_client_that_leaves_ends_its_own_fetch(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/own")
    held = origin.expect("/own")
    second = lab.client(shield).request("/own")
    shield.wait_metric("collapsed_requests_total", 1)
    held.respond(200, {"Cache-Control": "private"}, b"first's")
    alone = origin.expect("/own")
    second.reset()
    alone.wait_closed()
    assert first.response().body == b"first's"


def test_the_first_client_of_an_unshared_answer_may_have_left(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/own")
    held = origin.expect("/own")
    second = lab.client(shield).request("/own")
    shield.wait_metric("collapsed_requests_total", 1)
    first.reset()
    shield.wait_metric("waiter_fates_total", 1, fate="gone")
    held.respond(200, {"Cache-Control": "private"}, b"first's")
    origin.expect("/own").respond(200, {"Cache-Control": "private"}, b"second's")
    assert second.response().body == b"second's"
