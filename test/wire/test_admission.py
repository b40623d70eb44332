"""store.admit_after: what is asked for once does not reach the disk."""
import json
from urllib.parse import quote

import pytest

from scripted_origin import Reply, cacheable

TWICE = {"store.admit_after": 2}
LARGE = 3 << 20  # more than a quarter of store.ram=8m


def config(tmp_path, text):
    path = tmp_path / "shield.yaml"
    path.write_text(text)
    return ["-c", path]


def stored(shield):
    shield.wait_metric("flights", 0)  # one may go on behind the last client
    shield.wait_stored()
    return shield.metric("store_objects")


def after_a_kill(lab, origin, shield, store, **kw):
    shield.wait_stored()
    shield.kill()
    return lab.shield(origin, store=store, **kw)


@pytest.mark.parametrize("workers", [1, 2])
def test_with_the_second_request_it_goes_to_disk(lab, tmp_path, workers):
    origin = lab.origin().on("/x", cacheable("x" * 100_000, 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets=TWICE, workers=workers)
    first = lab.ask(shield, "/x")
    assert first.cache["fwd"] == "miss" and "stored" not in first.cache  # it would not outlive the process
    assert stored(shield) == 0
    assert shield.metric("limit_reached_total", limit="store.admit_after") == 1
    assert lab.ask(shield, "/x").cache["hit"]  # from memory
    assert stored(shield) == 1
    for _ in range(3):
        assert lab.ask(shield, "/x").cache["hit"]
    assert stored(shield) == 1
    again = after_a_kill(lab, origin, shield, tmp_path / "s", sets=TWICE)
    assert lab.ask(again, "/x").cache["hit"]
    assert origin.count() == 1


def test_one_hit_wonders_never_do(lab, tmp_path):
    origin = lab.origin().on_all(lambda request: cacheable(request.target * 100, 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets=TWICE)
    client = lab.client(shield)
    for i in range(500):
        assert "stored" not in client.ask(f"/{i}").cache
    assert stored(shield) == 0
    assert shield.metric("limit_reached_total", limit="store.admit_after") == 500
    assert shield.metric("limit_reached_total", limit="store.admit_keys") == 0


def test_it_is_the_nth_request_that_counts(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("x", 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets={"store.admit_after": 4})
    for n in range(1, 7):
        lab.ask(shield, "/x")
        assert stored(shield) == (n >= 4)


def test_whoever_waits_counts(lab, tmp_path):
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "s", sets={"store.admit_after": 100})
    crowd = lab.crowd(shield, 100).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 99)
    held.respond(200, {"Cache-Control": "max-age=3600"}, b"hello")
    assert sum("stored" in a.cache for a in crowd.responses()) == 1
    assert stored(shield) == 1 and origin.count() == 1


def test_from_the_start_unless_it_is_set(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("x", 3600))
    shield = lab.shield(origin, store=tmp_path / "s")
    assert "stored" in lab.ask(shield, "/x").cache
    assert stored(shield) == 1
    assert shield.metric("limit_reached_total", limit="store.admit_after") == 0


def test_without_a_disk_it_says_nothing(lab):
    origin = lab.origin().on("/x", cacheable("x", 3600))
    shield = lab.shield(origin, sets=TWICE)
    assert "stored" in lab.ask(shield, "/x").cache
    assert lab.ask(shield, "/x").cache["hit"]
    assert shield.metric("limit_reached_total", limit="store.admit_after") == 0


def test_by_route(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x", 3600))
    text = ("store: { admit_after: 3 }\n"
            "routes:\n"
            "  - { match: { path: /always/* }, admit_after: 1 }\n"
            "  - { match: { path: /twice/* }, admit_after: 2 }\n")
    shield = lab.shield(origin, store=tmp_path / "s", args=config(tmp_path, text))
    reached = {"/always/x": 1, "/twice/x": 2, "/x": 3}
    for target, n in reached.items():
        for i in range(1, 4):
            before = stored(shield)
            lab.ask(shield, target)
            assert stored(shield) - before == (i == n), (target, i)


def test_a_reload_changes_it(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x", 3600))
    shield = lab.shield(origin, store=tmp_path / "s", args=config(tmp_path, "store: { admit_after: 2 }\n"))
    lab.ask(shield, "/x")
    assert stored(shield) == 0
    config(tmp_path, "store: { admit_after: 1 }\n")
    assert shield.admin_get("/reload", "POST")[0] == 200
    assert "stored" in lab.ask(shield, "/y").cache
    assert lab.ask(shield, "/x").cache["hit"]  # and goes to disk now
    assert stored(shield) == 2


def test_what_memory_cannot_keep(lab, tmp_path):
    """The first request is passed through, the second stores it; neither is remembered as too large."""
    body = bytes(range(256)) * (LARGE // 256)
    origin = lab.origin().on("/x", cacheable(body, 3600, ETag='"x"'))
    sets = {**TWICE, "store.ram": "8m"}
    shield = lab.shield(origin, store=tmp_path / "s", sets=sets)
    first = lab.ask(shield, "/x")
    assert first.body == body and "stored" not in first.cache
    assert shield.metric("uncacheable_total", reason="unadmitted") == 1
    assert shield.metric("limit_reached_total", limit="store.object_max") == 0
    second = lab.ask(shield, "/x")
    assert second.body == body and "stored" in second.cache and origin.count() == 2
    assert shield.metric("misses_total", reason="unadmitted") == 1
    again = after_a_kill(lab, origin, shield, tmp_path / "s", sets=sets)
    third = lab.ask(again, "/x")
    assert third.body == body and third.cache["hit"] and origin.count() == 2


def test_ranges_of_what_memory_cannot_keep(lab, tmp_path):
    """The first gets its own part, with the second all of it comes, and stays."""
    body = bytes(range(256)) * (LARGE // 256)

    def answer(request):
        if request.get("Range") == "bytes=0-9":
            return Reply(body[:10], 206, Content_Range=f"bytes 0-9/{LARGE}", Cache_Control="max-age=3600")
        return cacheable(body, 3600)

    origin = lab.origin().on("/x", answer)
    shield = lab.shield(origin, store=tmp_path / "s", sets={**TWICE, "store.ram": "8m"})
    for _ in range(3):
        part = lab.ask(shield, "/x", Range="bytes=0-9")
        assert (part.status, part.body) == (206, body[:10])
    assert stored(shield) == 1
    assert lab.ask(shield, "/x", Range="bytes=0-9").cache["hit"]


def test_an_unknown_length_that_outgrows_memory(lab, tmp_path):
    body = b"x" * LARGE
    origin = lab.origin().on("/x", Reply(body, chunked=True, Cache_Control="max-age=3600"))
    shield = lab.shield(origin, store=tmp_path / "s", sets={**TWICE, "store.ram": "8m"})
    assert lab.ask(shield, "/x").body == body
    assert stored(shield) == 0
    second = lab.ask(shield, "/x")
    assert second.body == body and "stored" in second.cache
    assert stored(shield) == 1
    assert shield.metric("limit_reached_total", limit="store.object_max") == 0


def test_a_validation_counts(lab, tmp_path):
    """What must be validated each time is never a plain hit; it goes to disk all the same."""
    origin = lab.origin()
    origin.on("/x", lambda request: Reply(status=304, ETag='"v1"') if "If-None-Match" in request else
              Reply("version 1", ETag='"v1"', Cache_Control="no-cache"))
    shield = lab.shield(origin, store=tmp_path / "s", sets=TWICE)
    lab.ask(shield, "/x")
    assert stored(shield) == 0
    assert lab.ask(shield, "/x").cache["fwd-status"] == 304
    assert stored(shield) == 1
    again = after_a_kill(lab, origin, shield, tmp_path / "s", sets=TWICE)
    assert lab.ask(again, "/x").cache["fwd-status"] == 304


@pytest.mark.parametrize("order", [{"urls": ["http://edge.test/x"]}, {"all": True}])
def test_a_purged_one_does_not_come_to_disk(lab, tmp_path, order):
    origin = lab.origin().on("/x", cacheable("old", 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets=TWICE)
    lab.ask(shield, "/x")
    assert shield.admin_get("/purge", "POST", json.dumps(order))[0] == 200
    origin.on("/x", cacheable("new", 3600))
    assert lab.ask(shield, "/x").body == b"new"
    assert stored(shield) == 1
    again = after_a_kill(lab, origin, shield, tmp_path / "s", sets=TWICE)
    assert lab.ask(again, "/x").body == b"new"


def test_the_newer_of_two_is_on_disk(lab, tmp_path):
    """A hit that admits the older one comes before its successor, and so does its record."""
    origin = lab.origin().on("/x", cacheable("old", 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets=TWICE)
    lab.ask(shield, "/x")
    lab.ask(shield, "/x")
    assert lab.ask(shield, "/x", "POST", body=b"").status == 200
    origin.on("/x", cacheable("new", 3600))
    assert lab.ask(shield, "/x").body == b"new"
    again = after_a_kill(lab, origin, shield, tmp_path / "s", sets=TWICE)
    assert lab.ask(again, "/x").body == b"new" and stored(again) == 1


def test_explain_tells(lab, tmp_path):
    body = b"x" * LARGE
    origin = lab.origin().on_all(cacheable(body, 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets={**TWICE, "store.ram": "8m"})

    def explain():
        return json.loads(shield.admin_get(f"/explain?url={quote('http://edge.test/x', safe='')}")[1])

    said = explain()
    assert said["admission"] == {"asked": 0, "after": 2} and said["why"] == "absent"
    assert explain()["admission"] == said["admission"]  # to look is not to ask
    lab.ask(shield, "/x")
    said = explain()
    assert said["admission"] == {"asked": 1, "after": 2}
    assert (said["would"], said["why"], said["remembered"]) == ("fetch", "unadmitted", None)
    lab.ask(shield, "/x")
    shield.wait_stored()
    said = explain()
    assert said["admission"]["asked"] == 2 and said["would"] == "hit"
    plain = lab.shield(origin, store=tmp_path / "t")
    assert json.loads(plain.admin_get(f"/explain?url={quote('http://edge.test/x', safe='')}")[1])["admission"] is None


def test_keys_are_forgotten_and_counted(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x", 3600))
    shield = lab.shield(origin, store=tmp_path / "s", sets={**TWICE, "store.admit_keys": "1k"})
    client = lab.client(shield)
    for i in range(2000):
        client.ask(f"/{i}")
    assert shield.metric("limit_reached_total", limit="store.admit_keys") >= 2000 - 1024
    assert stored(shield) == 0
