"""How long a response is used without asking (RFC 9111 section 4.2), first version."""
import time
from email.utils import formatdate

import pytest

from scripted_origin import Reply, cacheable


def date(offset_s):
    return formatdate(time.time() + offset_s, usegmt=True)


def two_answers(lab, reply, sets=None, **request):
    origin = lab.origin().on("/x", reply)
    shield = lab.shield(origin, sets=sets)
    answers = [lab.ask(shield, "/x", **request) for _ in range(2)]
    assert all(a.status == reply.status and a.body == reply.body for a in answers)
    return origin, answers


FRESH = {
    "max-age": [("Cache-Control", "max-age=60")],
    "max-age, odd spelling": [("cache-control", "MAX-AGE=60 ,public")],
    "max-age, huge": [("Cache-Control", "max-age=99999999999999999999")],
    "max-age, unknown directives": [("Cache-Control", 'x="a,no-store", max-age=60, y')],
    "s-maxage": [("Cache-Control", "s-maxage=60, max-age=0")],
    "s-maxage before expires": [("Cache-Control", "s-maxage=60"), ("Expires", "0")],
    "max-age before expires": [("Cache-Control", "max-age=60"), ("Expires", date(-100))],
    "expires": [("Expires", date(3600))],
    "some age": [("Cache-Control", "max-age=60"), ("Age", "30")],
    "guessed": [("Last-Modified", date(-864000))],
    "two lines": [("Cache-Control", "public"), ("Cache-Control", "max-age=60")],
    "must-revalidate while fresh": [("Cache-Control", "max-age=60, must-revalidate")],
    "targeted": [("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store"), ("Expires", "0")],
    "ours before other targeted ones": [("CDN-Cache-Control", "private"), ("Shield-Cache-Control", "max-age=60")],
    "targeted, by lines": [("CDN-Cache-Control", "public"), ("CDN-Cache-Control", "max-age=60;x")],
    "surrogate": [("Surrogate-Control", 'max-age=60+30, content="ESI/1.0"'), ("Cache-Control", "private")],
    "targeted, but invalid": [("CDN-Cache-Control", "no-store,"), ("Cache-Control", "max-age=60")],
    "immutable": [("Cache-Control", "max-age=60, immutable")],
    "private with fields": [("Cache-Control", 'private="x-a", max-age=60')],
    "no-cache with fields": [("Cache-Control", 'no-cache="x-a", max-age=60')],
}


@pytest.mark.parametrize("name", FRESH)
def test_fresh(lab, name):
    origin, answers = two_answers(lab, Reply("x", headers=FRESH[name]))
    assert answers[0].cache_status == "shield; fwd=miss; stored"
    assert answers[1].cache["hit"] and 0 < answers[1].cache["ttl"]
    assert origin.count() == 1


STALE = {
    "nothing": [],
    "max-age=0": [("Cache-Control", "max-age=0")],
    "s-maxage=0": [("Cache-Control", "s-maxage=0, max-age=60")],
    "no-store": [("Cache-Control", "no-store, max-age=60")],
    "no-store on another line": [("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")],
    "private": [("Cache-Control", "private, max-age=60")],
    "private with fields that we need": [("Cache-Control", 'private="date", max-age=60')],
    "no-cache": [("Cache-Control", "no-cache, max-age=60")],
    "expires past": [("Expires", date(-60))],
    "expires is now": [("Expires", date(0)), ("Date", date(0))],
    "expires invalid": [("Expires", "0")],
    "too old": [("Cache-Control", "max-age=60"), ("Age", "61")],
    "max-age invalid": [("Cache-Control", "max-age=x")],
    "max-age negative": [("Cache-Control", "max-age=-1")],
    "targeted no-store": [("CDN-Cache-Control", "no-store"), ("Cache-Control", "max-age=60")],
    "targeted without a lifetime": [("CDN-Cache-Control", "none"), ("Cache-Control", "max-age=60")],
    "targeted with a string": [("CDN-Cache-Control", 'max-age="60"'), ("Cache-Control", "max-age=60")],
    "surrogate no-store": [("Surrogate-Control", "no-store"), ("Cache-Control", "max-age=60")],
    "immutable alone": [("Cache-Control", "immutable")],
}


@pytest.mark.parametrize("name", STALE)
def test_not_fresh(lab, name):
    origin, answers = two_answers(lab, Reply("x", headers=STALE[name]))
    assert not any("hit" in a.cache for a in answers)
    assert origin.count() == 2


def test_a_lifetime_is_not_guessed_when_that_is_off(lab):
    origin, _ = two_answers(lab, Reply("x", headers=FRESH["guessed"]), sets={"cache.heuristic": "off"})
    assert origin.count() == 2


@pytest.mark.parametrize("status, fields, kept", [
    (200, "max-age=60", True), (203, "max-age=60", True), (204, "max-age=60", True), (300, "max-age=60", True),
    (301, "max-age=60", True), (302, "max-age=60", True), (307, "max-age=60", True), (308, "max-age=60", True),
    (403, "max-age=60", True), (404, "max-age=60", True), (410, "max-age=60", True),
    (302, "", False), (307, "", False), (403, "", False), (404, "", False), (500, "", False),
])
def test_statuses(lab, status, fields, kept):
    reply = Reply("" if status == 204 else "x", status, headers=[("Cache-Control", fields)] if fields else [])
    origin, answers = two_answers(lab, reply)
    assert ("hit" in answers[1].cache) == kept
    assert origin.count() == (1 if kept else 2)


def test_age_and_ttl_of_a_hit(lab):
    origin = lab.origin().on("/x", cacheable("x", 100, Age="40"))
    shield = lab.shield(origin)
    began = time.time()
    first = lab.ask(shield, "/x")
    assert first.cache_status == "shield; fwd=miss; stored"
    hit = lab.ask(shield, "/x")
    took = time.time() - began
    assert 40 <= int(hit["Age"]) <= 41 + took
    assert 59 - took <= hit.cache["ttl"] <= 60
    assert hit["Date"] == first["Date"]


def test_joined_answers_have_an_age(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    lab.client(shield).request("/x")
    held = origin.expect("/x")
    joined = lab.client(shield).request("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.respond(200, {"Cache-Control": "max-age=60", "Age": "7"}, b"x")
    assert int(joined.response()["Age"]) >= 7


def test_what_an_edge_asks_of_the_cache_is_ignored(lab):
    origin = lab.origin().on("/x", cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    for field in ("no-cache", "no-store", "max-age=0", "min-fresh=1000"):
        assert lab.ask(shield, "/x", Cache_Control=field).cache["hit"]
    assert lab.ask(shield, "/x", Pragma="no-cache").cache["hit"]
    assert origin.count() == 1


def test_what_an_edge_asks_of_the_cache_is_obeyed_when_told(lab):
    origin = lab.origin().on("/x", cacheable("x"))
    shield = lab.shield(origin, sets={"client.cache_control": "obey"})
    lab.ask(shield, "/x")
    assert "hit" not in lab.ask(shield, "/x", Cache_Control="no-cache").cache
    assert origin.count() == 2
    assert lab.ask(shield, "/x", Cache_Control="max-age=60").cache["hit"]


def test_keys(lab):
    origin = lab.origin().on_all(lambda r: cacheable(f"{r.get('Host')} {r.target}"))
    shield = lab.shield(origin)
    pairs = [("edge.test", "/x"), ("edge.test", "/X"), ("edge.test", "/x?"), ("edge.test", "/x?b=1&a=2"),
             ("edge.test", "/x?a=2&b=1"), ("other.test", "/x"), ("edge.test", "/%78"), ("edge.test", "//x"),
             ("edge.test", "/x/../x"), ("edge.test:8080", "/x")]
    for _ in range(2):
        for host, target in pairs:
            assert lab.ask(shield, target, host=host).body == f"{host} {target}".encode()
    assert origin.count() == len(pairs)
    for host in ("EDGE.test", "edge.test:80", "Edge.Test:80"):
        assert lab.ask(shield, "/x", host=host).body == b"edge.test /x"
    answer = lab.ask(shield, "http://edge.test/x", host="edge.test")
    assert answer.body == b"edge.test /x" and answer.cache["hit"]
    assert origin.count() == len(pairs)
