"""What RFC 9111 demands that the other files do not ask: each test names its section."""
import time
from email.utils import formatdate

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply, cacheable

ETAG = '"v1"'


def date(offset_s):
    return formatdate(time.time() + offset_s, usegmt=True)


def test_what_connection_names_selects_no_variant(lab):
    """Sections 3.1 and 4.1 with RFC 9110 7.6.1: the origin has not seen the field, so the answer is not for those who send
    it."""
    origin = lab.origin().on("/x", lambda r: Reply(r.get("X-A", "none"), Cache_Control="max-age=60", Vary="X-A"))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x", X_A="1", Connection="X-A").body == b"none"
    assert lab.ask(shield, "/x", X_A="1").body == b"1"
    assert lab.ask(shield, "/x").body == b"none"
    assert origin.count() == 2


def test_a_304_without_date_does_not_revive_an_expires(lab):
    """Section 4.2.1 with RFC 9110 6.6.1: Expires is a moment, and a 304 that leaves out Date does not move it."""
    origin = lab.origin().on("/x", Reply("x", ETag=ETAG, Expires=date(LIFE_S), Date=date(0)))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.hold("/x")
    outlive(stored_at, LIFE_S + 1)
    for _ in range(2):
        client = lab.client(shield)
        client.request("/x")
        held = origin.expect("/x")
        assert held.get("If-None-Match") == ETAG
        held.respond(304, {"ETag": ETAG}, date=False)
        assert client.response().body == b"x"


def test_a_304_updates_what_is_stored(lab):
    """Section 3.2: Content- in a name means nothing, but the body stays coded as it is."""
    origin = lab.origin().on("/x", Reply("x", Cache_Control="no-cache", ETag=ETAG, Content_Type="text/a", X_Kept="1",
                                         Content_Language="en", Vary="Accept-Encoding", Content_Encoding="gzip"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x", Accept_Encoding="gzip")
    origin.on("/x", Reply(status=304, ETag=ETAG, Content_Type="text/b", Content_Language="de", Content_Encoding="br",
                          Connection="X-Hop", X_Hop="1", Cache_Control="max-age=60"))
    for _ in range(2):
        answer = lab.ask(shield, "/x", Accept_Encoding="gzip")
        assert (answer["Content-Type"], answer["Content-Language"], answer["X-Kept"]) == ("text/b", "de", "1")
        assert answer["Content-Encoding"] == "gzip" and "X-Hop" not in answer.fields
    assert answer.cache["hit"] and origin.count() == 2


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("directive", ['private="x-a, X-B"', 'no-cache="X-A,x-b"'])
def test_named_fields_are_their_first_readers_alone(lab, tmp_path, directive, store):
    """Sections 3.1, 5.2.2.4 and 5.2.2.7."""
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store" if store else None)
    leader, joined = lab.client(shield), lab.client(shield)
    leader.request("/x")
    held = origin.expect("/x")
    joined.request("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.respond(200, [("Cache-Control", directive + ", max-age=60"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3")], b"x")
    first = leader.response()
    assert (first["X-A"], first["X-B"], first["X-C"]) == ("1", "2", "3")
    answers = [joined.response(), lab.ask(shield, "/x")]
    if store:
        shield.wait_metric("store_pending_objects", 0)
        shield.stop()
        answers.append(lab.ask(lab.shield(origin, store=tmp_path / "store"), "/x"))
    for answer in answers:
        assert "X-A" not in answer.fields and "X-B" not in answer.fields
        assert (answer["X-C"], answer.body) == ("3", b"x")
    assert origin.count() == 1


def test_a_304_brings_its_named_fields_to_its_reader_alone(lab):
    origin = lab.origin().on("/x", Reply("x", Cache_Control='private="x-a", max-age=0', ETag=ETAG, X_A="1"))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x")["X-A"] == "1"
    origin.on("/x", Reply(status=304, Cache_Control='private="x-a", max-age=60', ETag=ETAG, X_A="2"))
    assert lab.ask(shield, "/x")["X-A"] == "2"
    hit = lab.ask(shield, "/x")
    assert hit.cache["hit"] and "X-A" not in hit.fields


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_answer_to_a_post_serves_later_gets(lab, tmp_path, store, chunked):
    """RFC 9110 section 9.3.3: where it has a lifetime and is about its own target; what was stored before goes."""
    origin = lab.origin().on("/x", cacheable("old"))
    shield = lab.shield(origin, store=tmp_path / "store" if store else None)
    assert lab.ask(shield, "/x").body == b"old"
    shield.wait_metric("store_pending_objects", 0)
    origin.on("/x", Reply("new", chunked=chunked, Cache_Control="max-age=60", Content_Location="/x"))
    answer = lab.ask(shield, "/x", "POST", body=b"sent")
    assert answer.body == b"new" and answer.cache_status == "shield; fwd=method; stored"
    if store:
        shield.wait_metric("store_pending_objects", 0)
        shield.stop()
        shield = lab.shield(origin, store=tmp_path / "store")
    hit = lab.ask(shield, "/x")
    assert hit.cache["hit"] and hit.body == b"new" and lab.ask(shield, "/x", "HEAD")["Content-Length"] == "3"
    assert lab.ask(shield, "/x", "POST", body=b"again").cache["fwd"] == "method"
    assert origin.count() == 3


@pytest.mark.parametrize("fields", [{"Content_Location": "/y"}, {}, {"Content_Location": "/x", "Vary": "X-A"}])
def test_other_answers_to_a_post_invalidate(lab, fields):
    origin = lab.origin().on("/x", cacheable("old"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.on("/x", cacheable("new", **fields))
    assert "stored" not in lab.ask(shield, "/x", "POST", body=b"sent").cache
    assert "hit" not in lab.ask(shield, "/x").cache


def test_a_get_that_was_in_the_air_does_not_outlive_a_post(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    slow = lab.client(shield)
    slow.request("/x")
    held = origin.expect("/x")
    poster = lab.client(shield)
    poster.request("/x", "POST", body=b"sent")
    origin.expect("/x").respond(200, {"Cache-Control": "max-age=60", "Content-Location": "/x"}, b"new")
    assert poster.response().body == b"new"
    held.respond(200, {"Cache-Control": "max-age=60"}, b"old")
    assert slow.response().body == b"old"
    assert lab.ask(shield, "/x").body == b"new"


# ---- 5.2.1: what a request asks of the cache, where that is obeyed ----

OBEY = {"client.cache_control": "obey"}


def obedient(lab, reply=None, **kw):
    """A shield that has /x, and whose origin holds the next request for it."""
    origin = lab.origin().on("/x", reply or Reply("x", Cache_Control="max-age=60", ETag=ETAG))
    shield = lab.shield(origin, sets=OBEY, **kw)
    assert lab.ask(shield, "/x").cache["stored"]
    origin.hold("/x")
    return origin, shield


@pytest.mark.parametrize("fields", [{"Cache_Control": "no-cache"}, {"Cache_Control": "max-age=0"}, {"Pragma": "no-cache"},
                                    {"Cache_Control": "min-fresh=61"}])
def test_what_is_not_wanted_as_it_is_is_validated(lab, fields):
    origin, shield = obedient(lab, Reply("x", Cache_Control="max-age=60", ETag=ETAG, Age="1"))
    client = lab.client(shield)
    client.request("/x", **fields)
    held = origin.expect("/x")
    assert held.get("If-None-Match") == ETAG
    held.respond(304, {"ETag": ETAG, "Cache-Control": "max-age=60"})
    answer = client.response()
    assert answer.body == b"x" and answer.cache_status == "shield; fwd=request; fwd-status=304"
    assert shield.metric("misses_total", reason="request") == 1
    assert lab.ask(shield, "/x").cache["hit"]


@pytest.mark.parametrize("fields", ["max-age=60", "min-fresh=10", "max-stale", "no-transform", "only-if-cached", "x=y"])
def test_what_is_good_enough_is_a_hit(lab, fields):
    _, shield = obedient(lab)
    assert lab.ask(shield, "/x", Cache_Control=fields).cache["hit"]


@pytest.mark.parametrize("stored, fields, is_served", [
    ("", "max-stale", True), ("", "max-stale=100", True), ("", "max-stale=0", False), ("", "max-age=100", False),
    (", must-revalidate", "max-stale", False), (", s-maxage=0", "max-stale", False), ("", "no-cache, max-stale", False),
])
def test_stale_is_served_to_who_takes_it(lab, stored, fields, is_served):
    """Sections 4.2.4 and 5.2.1.2; what is stale still has to look so."""
    origin, shield = obedient(lab, Reply("x", Cache_Control="max-age=60" + stored, ETag=ETAG, Age="70"), workers=1)
    client = lab.client(shield)
    client.request("/x", Cache_Control=fields)
    held = origin.expect("/x") # of a refresh, or of the request's own
    if is_served:
        answer = client.response()
        assert answer.cache["hit"] and answer.cache["ttl"] < 0 and answer["Cache-Control"].startswith("max-age=0")
    held.respond(304, {"ETag": ETAG})
    if not is_served:
        assert client.response().cache["fwd"] == "stale"


@pytest.mark.parametrize("store", [False, True])
def test_a_304_may_add_a_vary(lab, tmp_path, store):
    """Sections 3.2 and 4.1: what is stored varies from then on, and is the variant of who asked."""
    origin, shield = obedient(lab, store=tmp_path / "store" if store else None)
    origin.on("/x", Reply(status=304, ETag=ETAG, Cache_Control="max-age=60", Vary="X-A"))
    assert lab.ask(shield, "/x", X_A="1", Cache_Control="no-cache").body == b"x"
    origin.on("/x", lambda r: cacheable(r.get("X-A"), Vary="X-A"))
    if store:
        shield.wait_metric("store_pending_objects", 0)
        shield.stop()
        shield = lab.shield(origin, sets=OBEY, store=tmp_path / "store")
    assert lab.ask(shield, "/x", X_A="2").body == b"2"
    hit = lab.ask(shield, "/x", X_A="1")
    assert hit.cache["hit"] and hit.body == b"x"
    assert origin.count() == 3


def test_only_if_cached(lab):
    origin, shield = obedient(lab)
    assert lab.ask(shield, "/x", Cache_Control="only-if-cached").body == b"x"
    answer = lab.ask(shield, "/y", Cache_Control="only-if-cached")
    assert answer.status == 504 and "error=proxy_internal_response" in answer["Proxy-Status"]
    assert lab.ask(shield, "/x", Cache_Control="only-if-cached, no-cache").status == 504
    assert origin.count() == 1


def test_only_if_cached_finds_what_only_the_disk_has(lab, tmp_path):
    origin, shield = obedient(lab, store=tmp_path / "store")
    shield.wait_metric("store_pending_objects", 0)
    shield.stop()
    shield = lab.shield(origin, sets=OBEY, store=tmp_path / "store")
    assert lab.ask(shield, "/x", Cache_Control="only-if-cached").cache["hit"]
    assert lab.ask(shield, "/y", Cache_Control="only-if-cached").status == 504
    assert origin.count() == 1
    origin.on("/y", cacheable("y")) # and nobody remembers anything bad of it
    assert lab.ask(shield, "/y").cache["stored"] and shield.metric("uncacheable_total", reason="request") == 0


def test_no_store_is_neither_stored_nor_shared(lab):
    origin = lab.origin().on("/x", cacheable("x"))
    shield = lab.shield(origin, sets=OBEY)
    assert "stored" not in lab.ask(shield, "/x", Cache_Control="no-store").cache
    assert lab.ask(shield, "/x").cache_status == "shield; fwd=miss; stored" # the key is not remembered as uncacheable
    assert lab.ask(shield, "/x", Cache_Control="no-store").cache["hit"] # what was stored before may answer
    assert origin.count() == 2


# ---- what is probably a mistake ----

def test_public_and_set_cookie_are_told_of(lab):
    origin = lab.origin().on_all(lambda r: Reply("x", Cache_Control="public, max-age=60", Set_Cookie="a=b"))
    shield = lab.shield(origin)
    for _ in range(3):
        assert "stored" not in lab.ask(shield, "/x").cache
    assert shield.metric("suspicious_responses_total", kind="public_set_cookie") == 3
    assert shield.log.count("/x: public and Set-Cookie in one answer") == 1
