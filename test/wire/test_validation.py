"""Validation: what we ask of the origin, and what clients ask of us; 304 both ways."""
import time

import pytest

from patience import LIFE_S, outlive, until
from scripted_origin import Reply, cacheable

ETAG = '"v1"'
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
BRIEF = {"Cache-Control": f"max-age={LIFE_S}"}


def make_stale(lab, shield, origin, fields=BRIEF, body=b"version 1", target="/x"):
    """Store `body` for a short while, and come back when it is stale."""
    origin.on(target, Reply(body, headers=fields.items()))
    answer = lab.ask(shield, target)
    assert answer.cache_status == "shield; fwd=miss; stored"
    stored_at = time.time()
    origin.hold(target)
    outlive(stored_at, LIFE_S)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stampede_on_a_stale_object_is_one_conditional_fetch(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG, "Last-Modified": MODIFIED, "X-Old": "1", "X-Both": "1"})
    crowd = lab.crowd(shield, 50).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 49)
    assert held.get("If-None-Match") == ETAG
    held.respond(304, {"Cache-Control": "max-age=60", "ETag": ETAG, "X-Both": "2"})
    answers = crowd.responses()
    for answer in answers:
        assert (answer.status, answer.body, answer["X-Old"], answer["X-Both"]) == (200, b"version 1", "1", "2")
        assert answer["Content-Length"] == "9"
    assert [a.cache_status for a in answers].count("shield; fwd=stale; fwd-status=304") >= 1
    assert origin.count() == 2
    hit = lab.ask(shield, "/x")
    assert hit.cache["hit"] and 0 < hit.cache["ttl"] <= 60 and hit["X-Both"] == "2" and int(hit["Age"]) < 50
    shield.wait_metric("origin_requests_total", 1, kind="revalidate")
    assert shield.metric("requests_total", result="revalidated") >= 1


def test_the_origin_has_a_new_version(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    held.respond(200, {"Cache-Control": "max-age=60", "ETag": '"v2"'}, b"version 2")
    answers = crowd.responses()
    assert {(a.status, a.body, a["ETag"]) for a in answers} == {(200, b"version 2", '"v2"')}
    assert any(a.cache.get("fwd") == "stale" for a in answers)
    assert lab.ask(shield, "/x").body == b"version 2"
    assert origin.count() == 2


def test_validation_by_date_alone(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "Last-Modified": MODIFIED})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert held.get("If-Modified-Since") == MODIFIED and "If-None-Match" not in held
    held.respond(304, BRIEF)
    assert client.response().body == b"version 1"


def test_without_a_validator_the_fetch_is_unconditional(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert "If-None-Match" not in held and "If-Modified-Since" not in held
    held.respond(200, BRIEF, b"version 2")
    assert client.response().body == b"version 2"


def test_an_error_to_a_validation_is_not_stored_over_the_object(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    client = lab.client(shield).request("/x")
    origin.expect("/x").respond(500, body=b"broken")
    assert client.response().status == 500
    client.request("/x")
    held = origin.expect("/x")
    assert held.get("If-None-Match") == ETAG
    held.respond(304, {"Cache-Control": "max-age=60", "ETag": ETAG})
    assert client.response().body == b"version 1"


def test_a_shared_fetch_carries_nothing_of_its_first_client(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", If_None_Match='"mine"', If_Modified_Since=MODIFIED, Range="bytes=0-0",
                                        If_Range='"mine"')
    held = origin.expect("/x")
    for name in ("If-None-Match", "If-Modified-Since", "Range", "If-Range", "Authorization"):
        assert name not in held
    held.respond(200, {"Cache-Control": "max-age=60", "ETag": ETAG}, b"whole")
    answer = client.response()
    assert (answer.status, answer.body) == (200, b"whole")


MATCHES = [
    ({"If_None_Match": ETAG}, 304),
    ({"If_None_Match": "W/" + ETAG}, 304),
    ({"If_None_Match": f'"a", {ETAG}, "b"'}, 304),
    ({"If_None_Match": "*"}, 304),
    ({"If_None_Match": '"other"'}, 200),
    ({"If_Modified_Since": MODIFIED}, 304),
    ({"If_Modified_Since": "Tue, 02 Jan 2024 00:00:00 GMT"}, 304),
    ({"If_Modified_Since": "Sun, 31 Dec 2023 23:59:59 GMT"}, 200),
    ({"If_Modified_Since": "nonsense"}, 200),
    ({"If_None_Match": '"other"', "If_Modified_Since": MODIFIED}, 200),
    ({"If_None_Match": ETAG, "Range": "bytes=0-0"}, 304),
]


@pytest.mark.parametrize("asked, status", MATCHES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional_requests_on_a_hit(lab, asked, status, method):
    origin = lab.origin().on("/x", cacheable("x", ETag=ETAG, Last_Modified=MODIFIED, Content_Type="text/plain"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    client = lab.client(shield)
    answer = client.ask("/x", method, **asked)
    assert answer.status == status and answer.cache["hit"]
    assert answer["ETag"] == ETAG and "Date" in answer.fields and "Cache-Control" in answer.fields
    assert int(answer["Age"]) >= 0
    if status == 304:
        assert answer.body == b"" and "Content-Length" not in answer.fields
    assert client.ask("/x").body == b"x"
    assert origin.count() == 1


def test_conditional_requests_on_a_joined_miss(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    same = lab.client(shield).request("/x", If_None_Match=ETAG)
    other = lab.client(shield).request("/x", If_None_Match='"other"')
    shield.wait_metric("collapsed_requests_total", 2)
    held.send_head(200, {"Cache-Control": "max-age=60", "ETag": ETAG}, length=5)
    answer = same.response()
    assert answer.status == 304 and answer["ETag"] == ETAG
    held.send(b"whole").finish()
    for client in (whole, other):
        assert client.response().body == b"whole"
    assert origin.count() == 1


def test_a_304_for_a_client_that_led_a_validation(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    client = lab.client(shield).request("/x", If_None_Match=ETAG)
    origin.expect("/x").respond(304, {"Cache-Control": "max-age=60", "ETag": ETAG})
    assert client.response().status == 304
    assert lab.ask(shield, "/x").cache["hit"]


def test_conditions_go_along_when_the_key_is_not_cacheable(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/own")
    origin.expect("/own").respond(200, {"Cache-Control": "private"}, b"own")
    client.response()
    client.request("/own", If_None_Match='"mine"')
    held = origin.expect("/own")
    assert held.get("If-None-Match") == '"mine"'
    held.respond(304, {"ETag": '"mine"'})
    assert client.response().status == 304


@pytest.mark.parametrize("name", ["If_Match", "If_Unmodified_Since"])
def test_conditions_for_the_origin_go_to_the_origin(lab, name):
    value = ETAG if name == "If_Match" else MODIFIED
    origin = lab.origin().on("/x", cacheable("x", ETag=ETAG))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.hold("/x")
    client = lab.client(shield).request("/x", **{name: value})
    held = origin.expect("/x")
    assert held.get(name.replace("_", "-")) == value
    held.respond(412)
    assert client.response().status == 412


def test_a_stale_object_answers_when_the_origin_is_gone(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG, "X-Kept": "1", "Expires": MODIFIED})
    origin.refuse()
    origin.drop_idle()
    answers = lab.crowd(shield, 20).get("/x").responses()
    for answer in answers:
        assert (answer.status, answer.body, answer["X-Kept"]) == (200, b"version 1", "1")
        assert answer.cache["hit"] and answer.cache["ttl"] < 0  # 0 would be fresh (RFC 9211 section 2.3)
        assert int(answer["Age"]) >= LIFE_S
        assert answer["Cache-Control"] == "max-age=0" and answer["Expires"] == answer["Date"]
    shield.wait_metric("requests_total", 20, result="stale")
    shield.wait_metric("waiter_fates_total", lambda n: n >= 1, fate="stale")


def test_a_stale_object_answers_when_the_origin_hangs(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.head_timeout": "500ms"})
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    assert {(a.status, a.body) for a in crowd.responses()} == {(200, b"version 1")}
    held.wait_closed()


def test_a_stale_object_does_not_answer_once_it_is_invalidated(lab):
    """RFC 9111 sections 4.2.4 and 4.4: a POST that works while the validation is under way, which then fails."""
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    origin.drop_idle()
    until("its connection is closed", lambda: not origin.open)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x", method="GET")
    origin.on("/x", Reply("done"))
    assert lab.ask(shield, "/x", "POST", body=b"change").body == b"done"
    held.reset()
    assert client.response().status == 502


def test_a_304_that_forbids_to_store_drops_what_is_stored(lab):
    """RFC 9111 sections 3.2 and 4.3.4: the 304's fields replace the stored ones, and with no-store nothing may stay."""
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert held.get("If-None-Match") == ETAG
    held.respond(304, {"Cache-Control": "no-store", "ETag": ETAG})
    assert client.response().body == b"version 1"
    shield.wait_metric("flights", 0)
    client.request("/x")
    held = origin.expect("/x")
    assert "If-None-Match" not in held
    held.respond(200, {"Cache-Control": "no-store"}, b"version 2")
    assert client.response().body == b"version 2"


def test_a_stale_object_does_not_answer_when_that_is_off(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"stale.if_disconnected": "0"})
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    origin.refuse()
    origin.drop_idle()
    assert lab.ask(shield, "/x").status == 502


def test_a_stale_object_outlives_an_outage(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.error_ttl": "10ms", "flight.error_ttl_max": "10ms"})
    make_stale(lab, shield, origin, {"Cache-Control": f"max-age={LIFE_S}, must-revalidate", "ETag": ETAG})
    origin.refuse()
    origin.drop_idle()
    assert {a.status for a in lab.crowd(shield, 20).get("/x").responses()} == {502}
    again = lab.origin(port=origin.port)
    again.on("/x", Reply(status=304, ETag=ETAG, Cache_Control="max-age=60"))
    until("the origin answers again", lambda: lab.ask(shield, "/x").body == b"version 1")
    assert again.requests()[0].get("If-None-Match") == ETAG
    assert lab.ask(shield, "/x").cache["hit"]


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage={}"])
def test_a_stale_object_does_not_answer_where_that_is_forbidden(lab, directive):
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {"Cache-Control": f"max-age={LIFE_S}, " + directive.format(LIFE_S), "ETag": ETAG})
    origin.refuse()
    origin.drop_idle()
    assert lab.ask(shield, "/x").status == 502


def test_a_head_freshens_what_is_stored(lab):
    """RFC 9111 section 4.3.5."""
    origin = lab.origin()
    shield = lab.shield(origin)
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    client = lab.client(shield).request("/x", "HEAD")
    held = origin.expect("/x")
    if "If-None-Match" in held:
        held.respond(304, {"Cache-Control": "max-age=60", "ETag": ETAG})
    else:
        held.send_head(200, {"Cache-Control": "max-age=60", "ETag": ETAG}, length=9).finish()
    assert client.response().status == 200
    answer = lab.ask(shield, "/x")
    assert answer.cache["hit"] and answer.body == b"version 1"
    assert origin.count() == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_304_that_nobody_asked_for_is_the_origins_mistake(lab, method):
    """RFC 9110 section 15.4.5."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", method, **({"body": b"x"} if method == "POST" else {}))
    origin.expect("/x").send(b"HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\n\r\n").finish()
    assert client.response().status == 502


def test_a_304_about_another_validator_renews_nothing(lab):
    """RFC 9111 section 4.3.4."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"stale.if_disconnected": "0"})
    make_stale(lab, shield, origin, {**BRIEF, "ETag": ETAG})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert held.get("If-None-Match") == ETAG
    held.send(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"another\"\r\n\r\n").finish()
    assert client.response().status == 502


@pytest.mark.parametrize("validates", [False, True])
def test_who_waits_longer_than_the_answer_lives_gets_it_all_the_same(lab, validates):
    """An origin that takes as long as its answers live would else be asked by everyone who waited."""
    origin = lab.origin()
    shield = lab.shield(origin)
    fields = {**BRIEF, "ETag": ETAG}
    if validates:
        make_stale(lab, shield, origin, fields)
    began = time.time()
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    outlive(began, LIFE_S)
    held.respond(*((304, fields) if validates else (200, fields, b"version 1")))
    answers = crowd.responses()
    assert {(a.status, a.body) for a in answers} == {(200, b"version 1")}
    assert sum(int(a["Age"]) >= LIFE_S for a in answers) >= 19
    before = origin.count()
    client = lab.client(shield).request("/x")
    again = origin.expect("/x")  # it is stored, and stale
    assert again.get("If-None-Match") == ETAG
    again.respond(304, {"Cache-Control": "max-age=60", "ETag": ETAG})
    assert client.response().body == b"version 1" and origin.count() == before + 1
