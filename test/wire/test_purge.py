"""Purges as barriers: what they take, what they fence in the air, and what is never served behind their answer."""
import json
import random
import socket
import time

import pytest

from patience import LIFE_S, outlive, until
from scripted_origin import Reply, cacheable

HOST = "edge.test"
URL = f"http://{HOST}"
FRESH = {"Cache-Control": "max-age=600"}
TAGGED = {**FRESH, "Surrogate-Key": "all red", "Cache-Tag": "blue, deep green", "ETag": '"v"'}


def purge(shield, expected=200, **order):
    """The number of a purge that is answered."""
    status, text, _ = shield.admin_get("/purge", "POST", json.dumps(order))
    assert status == expected, text
    return json.loads(text)["purge"]


class Versions:
    """An origin that counts: each target's body tells how often it was asked for."""

    def __init__(self, origin, fields=FRESH):
        self.origin, self.fields = origin, fields
        origin.on_all(self.answer)

    def answer(self, request):
        fields = self.fields(request) if callable(self.fields) else self.fields
        return Reply(f"{request.target} {self.origin.count(request.target)}", headers=fields.items())


def body(lab, shield, target, **kw):
    return lab.ask(shield, target, **kw).body.decode()


def is_hit(answer):
    return answer.cache.get("hit", False) and answer.cache["ttl"] > 0


# ---- what is named

@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("order, gone, kept", [
    ({"urls": [URL + "/a/b?c=1"]}, ["/a/b?c=1"], ["/a/b", "/a/b?c=12", "/a/b?c=2", "/"]),
    ({"urls": ["HTTPS://EDGE.test:443/a", URL + ":80/a/b"]}, ["/a", "/a/b"], ["/a/b?", "/"]),
    ({"urls": [URL]}, ["/"], ["/a"]),
    ({"prefixes": [URL + "/a/b"]}, ["/a/b", "/a/bc", "/a/b?c", "/a/b/d/e/f"], ["/a", "/a/", "/A/b", "/"]),
    ({"prefixes": [HOST + "/"]}, ["/", "/a", "/?x"], []),
    ({"prefixes": [URL + "/one-two-three-four-five/"]}, ["/one-two-three-four-five/x"], ["/one-two-three-four-five", "/one-two"]),
    ({"hosts": ["EDGE.test:80"]}, ["/", "/a"], []),
    ({"hosts": ["edge.test:81", "other.test", "test"]}, [], ["/", "/a"]),
    ({"tags": ["/a"]}, ["/a"], ["/", "/ab", "/a/b"]),
    ({"tags": ["second /a"]}, ["/a"], ["/", "/ab"]),
    ({"all": True}, ["/", "/a"], []),
])
def test_what_an_order_names(lab, workers, soft, order, gone, kept):
    versions = Versions(lab.origin(), lambda r: {**FRESH, "Surrogate-Key": f"x {r.target} y", "Cache-Tag": f"a, second {r.target}"})
    shield = lab.shield(versions.origin, workers=workers)
    for target in gone + kept:
        assert body(lab, shield, target) == f"{target} 1"
    number = purge(shield, **order, soft=soft)
    assert purge(shield, urls=["http://nobody/"]) == number + 1
    for target in kept:
        assert is_hit(lab.ask(shield, target)), target
    for target in gone:
        answer = lab.ask(shield, target)
        assert answer.body.decode() == f"{target} 2" and answer.cache["fwd"] == ("stale" if soft else "miss"), target
        assert is_hit(lab.ask(shield, target))


@pytest.mark.parametrize("soft", [False, True])
def test_all_variants_of_a_url_go(lab, soft):
    versions = Versions(lab.origin(), {**FRESH, "Vary": "X-Kind, Accept-Encoding"})
    shield = lab.shield(versions.origin)
    kinds = ["a", "b", "c"]
    for n, kind in enumerate(kinds):
        assert body(lab, shield, "/x", X_Kind=kind) == f"/x {n + 1}"
    purge(shield, urls=[URL + "/x"], soft=soft)
    for n, kind in enumerate(kinds):
        assert body(lab, shield, "/x", X_Kind=kind) == f"/x {n + 4}"
        assert is_hit(lab.ask(shield, "/x", X_Kind=kind))


def test_a_url_is_taken_through_the_routes(lab, tmp_path):
    origin = lab.origin()
    versions = Versions(origin)
    config = tmp_path / "shield.yaml"
    config.write_text(f"""
origins: {{ default: {{ servers: ['{origin.url}'] }}, b: {{ servers: ['{origin.url}'] }} }}
routes:
  - {{ match: {{ path: /b/*, header: {{ X-B: '*' }} }}, origin: b, key: {{ headers: X-B }} }}
  - {{ match: {{ path: /drop/* }}, key: {{ query: drop }} }}
  - {{ match: {{ path: /sort/* }}, key: {{ query_sort: on, query_ignore: utm_* }} }}
  - {{ match: {{ path: /old/* }}, rewrite: {{ from: /old/*, to: /new/deep/* }} }}
""")
    shield = lab.shield(args=["-c", config])
    for order, asked in [
            ({"urls": [URL + "/b/x"]}, [("/b/x", {}), ("/b/x", {"X_B": "1"}), ("/b/x", {"X_B": "2"})]),
            ({"urls": [URL + "/drop/x?any"]}, [("/drop/x?1", {})]),
            ({"urls": [URL + "/sort/x?b=1&utm_x=9&a=2"]}, [("/sort/x?a=2&b=1&utm_y=1", {})]),
            ({"urls": [URL + "/old/x"]}, [("/old/x", {})]),
            ({"prefixes": [URL + "/old/x"]}, [("/old/xyz", {})]),
            ({"prefixes": [URL + "/ol"]}, [("/old/xyz", {})]),
            ({"hosts": [HOST]}, [("/old/xyz", {}), ("/b/x", {"X_B": "1"})])]:
        for target, fields in asked + [("/kept", {})]:
            lab.ask(shield, target, **fields)
            assert is_hit(lab.ask(shield, target, **fields)), target
        purge(shield, **order)
        for target, fields in asked:
            assert not lab.ask(shield, target, **fields).cache.get("hit"), (order, target)
        assert "hosts" in order or is_hit(lab.ask(shield, "/kept"))
    assert versions.origin.count() > 0


def test_groups_are_tags_and_what_an_origin_invalidates_by_them(lab):
    """RFC 9875: a group belongs to its origin."""
    origin = lab.origin()
    Versions(origin, {**FRESH, "Cache-Groups": '"scripts", "more"'})
    shield = lab.shield(origin)
    for host in ("a.test", "b.test"):
        lab.ask(shield, "/x", host=host)
    purge(shield, tags=["scripts"])
    for host in ("a.test", "b.test"):
        assert not lab.ask(shield, "/x", host=host).cache.get("hit")
    origin.on("/post", Reply(b"", 200, Cache_Group_Invalidation='"more"'))
    assert lab.ask(shield, "/post", host="a.test").status == 200  # safe: says nothing
    assert is_hit(lab.ask(shield, "/x", host="a.test"))
    assert lab.ask(shield, "/post", "POST", host="a.test", body=b"").status == 200
    until("the group is forgotten", lambda: not lab.ask(shield, "/x", host="a.test").cache.get("hit"))
    assert is_hit(lab.ask(shield, "/x", host="b.test"))


def test_a_response_with_more_tags_than_are_kept_is_not_stored(lab):
    origin = lab.origin()
    Versions(origin, lambda r: {**FRESH, "Surrogate-Key": " ".join(map(str, range(11 if r.target == "/many" else 10)))})
    shield = lab.shield(origin, sets={"purge.max_tags": 10})
    assert lab.ask(shield, "/few").cache.get("stored") and is_hit(lab.ask(shield, "/few"))
    for n in range(2):
        assert body(lab, shield, "/many") == f"/many {n + 1}"
    assert shield.metric("limit_reached_total", limit="purge.max_tags") == 2


def test_beyond_max_live_what_is_old_counts_as_purged(lab):
    origin = lab.origin()
    Versions(origin)
    shield = lab.shield(origin, sets={"purge.max_live": 1000, "purge.max_items": 1000})
    assert body(lab, shield, "/x") == "/x 1"
    for turn in range(3):
        purge(shield, urls=[f"http://nobody/{turn}/{i}" for i in range(400)])
    assert shield.metric("limit_reached_total", limit="purge.max_live") == 1
    assert shield.metric("purge_records") <= 1000
    assert body(lab, shield, "/x") == "/x 2"
    assert is_hit(lab.ask(shield, "/x"))


def test_what_is_remembered_of_a_key_goes_with_it(lab):
    origin = lab.origin()
    origin.on("/x", Reply(b"mine", Cache_Control="private"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    assert shield.metric("uncacheable_total", reason="private") == 1
    purge(shield, urls=[URL + "/x"])
    origin.hold("/x")
    crowd = lab.crowd(shield, 10).get("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    origin.expect("/x").respond(200, FRESH, b"ours")
    assert all(a.body == b"ours" for a in crowd.responses())


def test_purges_are_counted(lab):
    shield = lab.shield(lab.origin())
    purge(shield, urls=[URL + "/1", URL + "/2"], tags=["a"])
    purge(shield, all=True, soft=True)
    purge(shield, hosts=["h"])
    purge(shield, prefixes=["h/p"])
    for kind, mode, n in [("url", "hard", 2), ("tag", "hard", 1), ("all", "soft", 1), ("host", "hard", 1), ("prefix", "hard", 1),
                          ("url", "soft", 0)]:
        assert shield.metric("purges_total", kind=kind, mode=mode) == n, kind
    assert shield.metric("purge_records") == 5
    stats = json.loads(shield.admin_get("/stats")[1])["metrics"]
    assert stats["purges_total"]["url"] == {"hard": 2, "soft": 0} and stats["purge_us"]["count"] == 4


# ---- soft: stale, and to be validated

def test_soft_means_stale(lab):
    origin = lab.origin()
    origin.on("/x", Reply(b"one", headers=TAGGED.items()))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.hold("/x")
    purge(shield, tags=["red"], soft=True)
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    assert held.get("If-None-Match") == '"v"'
    held.respond(304, TAGGED)
    assert all(a.body == b"one" for a in crowd.responses())
    assert is_hit(lab.ask(shield, "/x"))
    assert origin.count() == 2


def test_stale_answers_of_what_is_softly_purged_look_stale(lab):
    origin = lab.origin()
    fields = {"Cache-Control": "max-age=600, stale-while-revalidate=600", "ETag": '"v"'}
    origin.on("/x", Reply(b"one", headers=fields.items()))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.hold("/x")
    purge(shield, urls=[URL + "/x"], soft=True)
    for _ in range(3):
        answer = lab.ask(shield, "/x")
        assert answer.body == b"one" and answer.cache["hit"] and answer.cache["ttl"] < 0
        assert answer["Cache-Control"] == "max-age=0" and answer["X-Accel-Expires"] == "@1"
    held = origin.expect("/x")
    assert held.get("If-None-Match") == '"v"'
    held.respond(200, FRESH, b"two")
    shield.wait_metric("flights", 0)
    answer = lab.ask(shield, "/x")
    assert answer.body == b"two" and is_hit(answer)
    assert origin.count() == 2


@pytest.mark.parametrize("forbids", ["must-revalidate", "s-maxage=600"])
def test_soft_does_not_permit_what_is_forbidden(lab, forbids):
    origin = lab.origin()
    origin.on("/x", Reply(b"one", Cache_Control=f"max-age=600, stale-while-revalidate=600, stale-if-error=600, {forbids}"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    purge(shield, all=True, soft=True)
    origin.on("/x", Reply(b"", 500))
    assert lab.ask(shield, "/x").status == 500


@pytest.mark.parametrize("soft", [False, True])
def test_an_error_behind_a_purge(lab, soft):
    """What is softly purged may still hide an error; what is gone may not."""
    origin = lab.origin()
    origin.on("/x", Reply(b"one", Cache_Control="max-age=600, stale-if-error=600"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    purge(shield, urls=[URL + "/x"], soft=soft)
    origin.on("/x", Reply(b"broken", 503))
    answer = lab.ask(shield, "/x")
    assert (answer.status, answer.body) == ((200, b"one") if soft else (503, b"broken"))


# ---- in the air

@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("order", [{"urls": [URL + "/hot"]}, {"prefixes": [URL + "/h"]}, {"hosts": [HOST]}, {"all": True}])
def test_a_thousand_wait_while_it_is_purged(lab, workers, soft, order):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 1000).get("/hot")
    old = origin.expect("/hot")
    shield.wait_metric("collapsed_requests_total", 999)
    purge(shield, **order, soft=soft)
    new = origin.expect("/hot")
    shield.wait_metric("waiters", 1000)
    try:
        old.respond(200, FRESH, b"old")
    except OSError:
        pass
    new.respond(200, FRESH, b"new")
    assert all(a.body == b"new" for a in crowd.responses())
    assert origin.count() == 2
    assert shield.metric("purge_fenced_total", what="flight") == 1
    answer = lab.ask(shield, "/hot")
    assert answer.body == b"new" and is_hit(answer)


@pytest.mark.parametrize("workers", [1, 2])
def test_by_tag_when_the_head_tells_the_tags(lab, workers):
    """Nobody knows the tags of a fetch before its head: then it is too late for it, if one of them was purged meanwhile."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 100).get("/hot")
    old = origin.expect("/hot")
    shield.wait_metric("collapsed_requests_total", 99)
    purge(shield, tags=["red"])
    old.send_head(200, TAGGED, length=3)
    new = origin.expect("/hot")
    new.respond(200, TAGGED, b"new")
    assert all(a.body == b"new" for a in crowd.responses())
    assert origin.count() == 2
    old.wait_closed()


def test_another_tag_changes_nothing(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/hot")
    held = origin.expect("/hot")
    purge(shield, tags=["other"], urls=[URL + "/other"])
    held.respond(200, TAGGED, b"one")
    assert client.response().body == b"one"
    assert is_hit(lab.ask(shield, "/hot")) and origin.count() == 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("order", [{"urls": [URL + "/x"]}, {"tags": ["red"]}, {"all": True, "soft": True}])
def test_between_head_and_body(lab, order, workers):
    """Who was sent a head reads on to the end; whoever comes later has the new one, and the old one is not stored."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    client = lab.client(shield).request("/x")
    old = origin.expect("/x").send_head(200, TAGGED, length=7).send(b"old")
    client.body(3)
    purge(shield, **order)
    other = lab.client(shield).request("/x")
    new = origin.expect("/x")
    new.respond(200, TAGGED, b"new")
    assert other.response().body == b"new"
    old.send(b"body")
    old.finish()
    answer = client.response()
    assert answer.body == b"oldbody" and answer.end == "clean"
    shield.wait_metric("flights", 0)
    assert body(lab, shield, "/x") == "new" and origin.count() == 2


def test_who_is_behind_reads_a_fenced_body_from_the_disk(lab, tmp_path):
    """It is too large for memory, and the fetch ends before its reader has come to what only the disk has."""
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store", sets={"store.ram": "16m"})
    big = b"".join(b"%015d\n" % n for n in range(750000))
    client = lab.client(shield)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.request("/x")
    old = origin.expect("/x").send_head(200, TAGGED, length=len(big)).send(big[:len(big) // 2])
    client.head()
    purge(shield, urls=[URL + "/x"])
    other = lab.client(shield).request("/x")
    origin.expect("/x").respond(200, TAGGED, b"new")
    assert other.response().body == b"new"
    old.send(big[len(big) // 2:])
    old.finish()
    shield.wait_metric("flights", 0)
    last = lab.client(shield).request("/behind-it-in-the-queue")
    origin.expect("/behind-it-in-the-queue").respond(200, FRESH, b"y")
    assert last.response().body == b"y"
    shield.wait_metric("store_pending_objects", 0)
    answer = client.response()
    assert answer.end == "clean" and answer.body == big
    assert body(lab, shield, "/x") == "new"


def test_nobody_reads_a_fetch_that_is_fenced(lab):
    """Then it ends at once, though it would be worth storing."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    old = origin.expect("/x").send_head(200, FRESH, length=7).send(b"old")
    client.body(3)
    client.reset()
    shield.wait_metric("waiters", 0)
    purge(shield, all=True)
    old.wait_closed()
    assert shield.metric("flights") == 0


def test_a_304_does_not_bring_back_what_is_gone(lab):
    origin = lab.origin()
    origin.on("/x", Reply(b"old", headers={"Cache-Control": f"max-age={LIFE_S}", "ETag": '"v"'}.items()))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.hold("/x")
    outlive(stored_at)
    crowd = lab.crowd(shield, 20).get("/x")
    old = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    assert old.get("If-None-Match") == '"v"'
    purge(shield, urls=[URL + "/x"])
    new = origin.expect("/x")
    assert "If-None-Match" not in new
    try:
        old.respond(304, FRESH)
    except OSError:
        pass
    new.respond(200, FRESH, b"new")
    assert all(a.body == b"new" for a in crowd.responses())
    assert origin.count() == 3


def test_a_304_behind_a_purge_by_tag_does_not_either(lab):
    """It carries no tags itself: those of what it is about count."""
    origin = lab.origin()
    origin.on("/x", Reply(b"old", headers={**TAGGED, "Cache-Control": f"max-age={LIFE_S}"}.items()))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.hold("/x")
    outlive(stored_at)
    client = lab.client(shield).request("/x")
    old = origin.expect("/x")
    purge(shield, tags=["deep green"])
    old.respond(304, {"ETag": '"v"', "Cache-Control": "max-age=600"})
    new = origin.expect("/x")
    assert "If-None-Match" not in new
    new.respond(200, FRESH, b"new")
    assert client.response().body == b"new"
    assert body(lab, shield, "/x") == "new" and origin.count() == 3


@pytest.mark.parametrize("soft", [False, True])
def test_a_refresh_in_the_background(lab, soft):
    origin = lab.origin()
    fields = {"Cache-Control": f"max-age={LIFE_S}, stale-while-revalidate=600"}
    origin.on("/x", Reply(b"one", headers=fields.items()))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.hold("/x")
    outlive(stored_at)
    assert body(lab, shield, "/x") == "one"
    refresh = origin.expect("/x")
    purge(shield, urls=[URL + "/x"], soft=soft)
    client = lab.client(shield).request("/x")
    new = origin.expect("/x")
    try:
        refresh.respond(200, FRESH, b"two")
    except OSError:
        pass
    new.respond(200, FRESH, b"three")
    assert client.response().body == (b"one" if soft else b"three")
    shield.wait_metric("flights", 0)
    assert body(lab, shield, "/x") == "three" and origin.count() == 3


def test_a_fetch_of_ones_own(lab):
    """Released requests and their like hold to it too; what passes the cache by is the origin's answer to that very request."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", Authorization="Basic x")
    old = origin.expect("/x")
    purge(shield, urls=[URL + "/x"])
    new = origin.expect("/x")
    assert new.get("Authorization") == "Basic x"
    new.respond(200, FRESH, b"new")
    assert client.response().body == b"new"
    old.wait_closed()
    client.request("/x", "POST", body=b"x")
    held = origin.expect("/x", "POST")
    purge(shield, all=True)
    held.respond(200, {}, b"posted")
    assert client.response().body == b"posted"
    assert origin.count() == 3


def test_a_body_that_is_being_mended(lab):
    """A resumed transfer keeps the number of its first request."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    old = origin.expect("/x").send_head(200, TAGGED, length=7).send(b"old")
    client.body(3)
    old.reset()
    rest = origin.expect("/x")
    assert rest.get("Range") == "bytes=3-"
    purge(shield, urls=[URL + "/x"])
    other = lab.client(shield).request("/x")
    new = origin.expect("/x")
    new.respond(200, TAGGED, b"new")
    assert other.response().body == b"new"
    rest.respond(206, {**TAGGED, "Content-Range": "bytes 3-6/7"}, b"body")
    answer = client.response()
    assert (answer.body, answer.end) == (b"oldbody", "clean")
    shield.wait_metric("flights", 0)
    assert body(lab, shield, "/x") == "new"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("order", [{"urls": [URL + "/x"]}, {"tags": ["red"], "soft": True}])
def test_a_head_that_waits_for_its_range(lab, order, workers):
    """Of an unknown length, so that it can only be written when the bytes are there: by then it is purged."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    reader = lab.client(shield).request("/x")
    old = origin.expect("/x").send_head(200, TAGGED, chunked=True)
    old.chunk(b"old")
    reader.body(3)
    crowd = lab.crowd(shield, 20).get("/x", Range="bytes=2-5")
    shield.wait_metric("waiters", 21)
    purge(shield, **order)
    new = origin.expect("/x")
    old.chunk(b"older")
    new.respond(200, TAGGED, b"0123456789")
    for answer in crowd.responses():
        assert (answer.status, answer.body) == (206, b"2345")
    old.last_chunk()
    assert reader.response().body == b"oldolder"
    assert origin.count() == 2
    assert shield.metric("purge_fenced_total", what="answer") == 20


def test_a_hit_behind_another_answer(lab):
    origin = lab.origin()
    origin.on("/big", cacheable(b"x" * 30_000_000))
    Versions(origin)
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x").body == b"/x 1"
    client = lab.client(shield)
    client.request("/big").request("/x")
    client.body(1000)  # and no more: the rest fills the connection
    purge(shield, urls=[URL + "/x"])
    assert len(client.response().body) == 30_000_000
    assert client.response().body == b"/x 2"


def test_purges_that_come_faster_than_answers(lab):
    """Not waited out for ever, and never answered with what is purged."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    for _ in range(17):
        origin.expect("/x")
        purge(shield, urls=[URL + "/x"])
    answer = client.response()
    assert answer.status == 503 and answer["Retry-After"]
    assert shield.metric("refusals_total", reason="purge") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_old_behind_the_answer_under_load(lab, workers):
    """Each purge makes the version before it too old; many ask all the time."""
    origin = lab.origin()
    version = [0]
    origin.on_all(lambda r: Reply(str(version[0]), headers=TAGGED.items()))
    shield = lab.shield(origin, workers=workers)
    orders = [{"urls": [URL + "/x"]}, {"tags": ["red"]}, {"all": True}, {"prefixes": [URL + "/"]}, {"hosts": [HOST], "soft": True}]
    for n in range(30):
        crowd = lab.crowd(shield, 20).get("/x")
        version[0] = n + 1
        purge(shield, **orders[n % len(orders)])
        late = lab.crowd(shield, 20).get("/x")
        for answer in late.responses():
            assert int(answer.body) == n + 1
        crowd.responses()
        crowd.close()
        late.close()


# ---- the disk

@pytest.mark.parametrize("soft", [False, True])
def test_what_is_found_on_disk_is_held_against_the_log(lab, tmp_path, soft):
    origin = lab.origin()
    Versions(origin, TAGGED)
    shield = lab.shield(origin, store=tmp_path / "store")
    for target in ("/a", "/b", "/c"):
        assert body(lab, shield, target) == f"{target} 1"
    shield.wait_stored()
    assert shield.stop() == 0
    again = lab.shield(origin, store=tmp_path / "store")
    purge(again, urls=[URL + "/a"], soft=soft)
    answer = lab.ask(again, "/a")
    assert answer.body == b"/a 2" and answer.cache["fwd"] == ("stale" if soft else "miss")
    assert is_hit(lab.ask(again, "/b"))
    purge(again, tags=["blue"], soft=soft)
    assert body(lab, again, "/c") == "/c 2"
    assert body(lab, again, "/b") == "/b 2"


@pytest.mark.parametrize("soft", [False, True])
def test_a_purge_outlives_the_process(lab, tmp_path, soft):
    origin = lab.origin()
    Versions(origin, TAGGED)
    shield = lab.shield(origin, store=tmp_path / "store")
    for target in ("/a", "/b", "/c", "/d"):
        assert body(lab, shield, target) == f"{target} 1"
    shield.wait_stored()
    number = purge(shield, urls=[URL + "/a"], soft=soft, reference="deploy-1")
    purge(shield, prefixes=[URL + "/b"], soft=soft)
    shield.kill()
    again = lab.shield(origin, store=tmp_path / "store")
    assert body(lab, again, "/a") == "/a 2" and body(lab, again, "/b") == "/b 2"
    assert is_hit(lab.ask(again, "/c"))
    assert purge(again, urls=[URL + "/c"], reference="deploy-1") == number
    assert is_hit(lab.ask(again, "/c"))
    assert purge(again, tags=["red"], soft=soft) == number + 2
    again.kill()
    third = lab.shield(origin, store=tmp_path / "store")
    assert [body(lab, third, t) for t in ("/c", "/d")] == ["/c 2", "/d 2"]


# ---- paced

def test_paced_each_has_its_time(lab):
    origin = lab.origin()
    Versions(origin)
    shield = lab.shield(origin)
    targets = [f"/{i}" for i in range(60)]
    for target in targets:
        lab.ask(shield, target)
    purge(shield, all=True, over="1h")
    client = lab.client(shield)
    hits = sum(is_hit(client.ask(t)) for t in targets)
    assert hits >= 55
    purge(shield, prefixes=[HOST + "/"], over="50ms")
    until("all are stale", lambda: origin.count() == 2 * len(targets) or not [client.ask(t) for t in targets])
    assert all(is_hit(client.ask(t)) for t in targets[:5])


# ---- the barrier, to the letter

def heads_to_come(crowd):
    """The clients to whom nothing has been written yet: what the shield has written, a socket on loopback has."""
    crowd.turn(0)
    return [a for a in crowd.answers if not a.has_head and not a.buffer and not a.done]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("order", [{"urls": [URL + "/x"]}, {"tags": ["red"]}, {"all": True, "soft": True}])
def test_no_head_behind_the_answer_is_of_what_was_before_it(lab, workers, order):
    origin = lab.origin()
    version = [0]
    dice = random.Random(f"{workers}{order}")

    def answer(request):
        mine = version[0]
        time.sleep(dice.random() * 0.01)
        return Reply(str(mine), headers=TAGGED.items())

    origin.on_all(answer)
    shield = lab.shield(origin, workers=workers)
    waited = 0
    for n in range(1, 41):
        crowd = lab.crowd(shield, 40).get("/x")
        time.sleep(dice.random() * 0.006)  # anywhere in the fetch: no order is meant
        version[0] = n
        purge(shield, **order)
        late = heads_to_come(crowd)
        waited += len(late)
        crowd.responses()
        for client in late:
            assert int(client.body) == n, f"{len(late)} heads were to come"
        crowd.close()
    assert waited > 0
    assert shield.metric("origin_requests_total") <= 2 * 40 + 2


# ---- told

@pytest.mark.parametrize("on_disk", [False, True])
def test_explain_knows_of_purges(lab, tmp_path, on_disk):
    origin = lab.origin()
    Versions(origin, {"Cache-Control": "max-age=600, stale-while-revalidate=60"})
    shield = lab.shield(origin, store=tmp_path / "store")
    for target in ("/soft", "/hard", "/kept"):
        lab.ask(shield, target)
    shield.wait_stored()
    if on_disk:
        shield.stop()
        shield = lab.shield(origin, store=tmp_path / "store")
    purge(shield, urls=[URL + "/soft"], soft=True)
    purge(shield, urls=[URL + "/hard"])
    for target, would in (("/soft", "stale_and_refresh"), ("/hard", "fetch"), ("/kept", "hit")):
        said = json.loads(shield.admin_get(f"/explain?url={URL}{target}")[1])
        assert said["would"] == would, target


@pytest.mark.parametrize("soft", [False, True])
def test_what_nothing_stored_can_match_is_forgotten(lab, tmp_path, soft):
    """And is still purged, while all else stays; also for what only memory has, and over a restart."""
    origin = lab.origin()
    Versions(origin, TAGGED)
    sets = {"store.keep_purges": "0", "store.ram": "16m"}
    shield = lab.shield(origin, store=tmp_path / "store", sets=sets)
    for target in ("/a", "/b", "/c"):
        assert body(lab, shield, target) == f"{target} 1"
    shield.wait_stored()
    for n in range(5):
        purge(shield, urls=[URL + "/a", f"{URL}/none/{n}"], soft=soft)
    shield.wait_metric("purge_records", 0)
    assert body(lab, shield, "/a") == "/a 2" and is_hit(lab.ask(shield, "/b"))
    assert body(lab, shield, "/late") == "/late 1"
    shield.wait_stored()
    number = purge(shield, tags=["none"])
    shield.kill()
    again = lab.shield(origin, store=tmp_path / "store", sets=sets)
    assert [is_hit(lab.ask(again, t)) for t in ("/a", "/b", "/c", "/late")] == [True] * 4
    assert purge(again, all=True, soft=soft) == number + 1
    assert [body(lab, again, t) for t in ("/a", "/b", "/late")] == ["/a 3", "/b 2", "/late 2"]
