"""/explain: what would become of a request, and why; nothing is asked, joined, counted or touched for it."""
import json
import os
import socket
import subprocess
import time
from urllib.parse import quote

import pytest

from patience import LIFE_S, PATIENCE_S, outlive, until
from raw_client import reset
from scripted_origin import Reply, cacheable
from shield_process import SHIELD

HOST = "http://edge.test"
TOKEN = "debug-token-0123456789"


def path_of(target, method=None, headers=()):
    query = f"/explain?url={quote(HOST + target, safe='')}"
    if method is not None:
        query += f"&method={method}"
    return query + "".join(f"&header={quote(f'{name}: {value}', safe='')}" for name, value in headers)


def explain(shield, target, method=None, headers=()):
    status, text, fields = shield.admin_get(path_of(target, method, headers))
    assert status == 200 and fields["Content-Type"] == "application/json", text
    return json.loads(text)


def would(shield, target, method=None, headers=()):
    said = explain(shield, target, method, headers)
    return said["would"], said["why"]


@pytest.fixture
def setting(lab, tmp_path):
    """A shield with a debug token, and its origin."""
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN + "\n")
    origin = lab.origin()

    def start(*origins, **sets):
        return lab.shield(*(origins or (origin,)), sets={"debug.token_file": tokens,
                                                         **{name.replace("__", "."): v for name, v in sets.items()}})
    return origin, start


def ask(lab, shield, target, method="GET", headers=(), **kw):
    return lab.ask(shield, target, method, headers=list(headers) + [("Shield-Debug", TOKEN)], **kw)


def settle(lab, shield, target, **kw):
    """The same, and its flight is over: what was to be stored is."""
    answer = ask(lab, shield, target, **kw)
    shield.wait_metric("flights", 0)
    return answer


# ---- each way to go, and that it is the way a real request goes ----

AUTH = [("Authorization", "Basic eDp5")]
REAL = [  # before, the request, what would become of it, and why
    ([], "/x", None, [], "fetch", "absent"),
    (["/x"], "/x", None, [], "hit", None),
    (["/x"], "/x", "HEAD", [], "hit", None),
    (["/v"], "/v", None, [("X-V", "2")], "fetch", "vary"),
    (["/checked"], "/checked", None, [], "validate", "no_cache"),
    (["/own"], "/own", None, [], "alone", "uncacheable"),
    (["/x"], "/x", "POST", [], "pass", "method"),
    (["/x"], "/x", "GET", [("Content-Length", "1")], "pass", "content"),
    ([], "/x", None, AUTH, "alone", "authorization"),
    (["/public"], "/public", None, AUTH, "hit", None),
    (["/x"], "/x", None, AUTH, "alone", "authorization"),
    (["/x"], "/x", None, [("If-Match", '"1"')], "alone", "condition"),
    (["/x"], "/x", None, [("Cache-Control", "no-cache")], "fetch", "request"),
    ([], "/x", None, [("Cache-Control", "no-store")], "alone", "no_store"),
    (["/huge"], "/huge", None, [("Range", "bytes=0-9")], "alone", "range"),
    (["/huge"], "/huge", None, [], "fetch", "window"),
]


@pytest.mark.parametrize("before, target, method, headers, what, why", REAL)
def test_what_would_happen_is_what_happens(lab, setting, before, target, method, headers, what, why):
    origin, start = setting
    origin.on_all(cacheable("hello")).on("/v", cacheable("hello", Vary="X-V"))
    origin.on("/own", Reply("x", Cache_Control="private")).on("/public", Reply("x", Cache_Control="public, max-age=60"))
    origin.on("/checked", Reply("x", Cache_Control="no-cache", ETag='"1"')).on("/huge", cacheable(b"z" * 200_000))
    shield = start(client__cache_control="obey", store__object_max="64k")
    for earlier in before:
        settle(lab, shield, earlier)
    asked = origin.count()
    assert would(shield, target, method, headers) == (what, why)
    assert would(shield, target, method, headers) == (what, why)  # it has left no trace
    assert origin.count() == asked
    body = b"x" if method == "POST" else None
    sent = [h for h in headers if h[0] != "Content-Length"]
    answer = ask(lab, shield, target, method or "GET", sent, body=b"x" if sent != headers else body)
    assert answer.cache.get("detail") == why
    assert ("hit" in answer.cache) == (what == "hit")
    assert (answer.cache.get("fwd") == "stale") == (what == "validate")


@pytest.mark.parametrize("method, headers, why, status", [
    (None, [("CDN-Loop", "shield-a")], "loop", 508), ("PURGE", [], "method", 405), ("TRACE", [], "method", 405),
])
def test_what_is_refused(lab, setting, method, headers, why, status):
    shield = setting[1](node__name="a")
    said = explain(shield, "/x", method, headers)
    assert (said["would"], said["why"], said["status"]) == ("refuse", why, status)
    assert said["sorted"] == {"as": "refuse", "why": why}


def test_only_what_is_stored(lab, setting):
    shield = setting[1](client__cache_control="obey")
    only = [("Cache-Control", "only-if-cached")]
    said = explain(shield, "/x", headers=only)
    assert (said["would"], said["why"], said["status"]) == ("error", "not_stored", 504)
    assert ask(lab, shield, "/x", headers=only).status == 504


def test_options_that_go_no_further(setting):
    said = explain(setting[1](), "/x", "OPTIONS", [("Max-Forwards", "0")])
    assert (said["would"], said["why"], said["status"], said["key"]) == ("answer", "options", 200, None)


ROUTES = """
  - { name: moved, match: { path: /old/* }, redirect: { to: 'https://new.test/', status: 301 } }
  - { name: robots, match: { path: /robots.txt }, answer: { body: no-one } }
  - { name: closed, match: { path: /admin/* }, deny: on }
  - { name: live, match: { path: /live/* }, cache: off }
  - { name: each, match: { path: /each/* }, collapse: off }
  - { name: keyed, match: { path: /keyed/* }, key: { query_ignore: [utm_*] } }
"""


@pytest.mark.parametrize("target, method, route, what, why, status", [
    ("/old/x", None, "moved", "answer", "redirect", 301),
    ("/robots.txt", None, "robots", "answer", "answer", 200),
    ("/x/../admin/", None, "closed", "answer", "deny", 403),
    ("/live/x", None, "live", "pass", "route", None),
    ("/live/x", "POST", "live", "pass", "method", None),
    ("/live/x", "OPTIONS", "live", "answer", "options", 200),
    ("/each/x", None, "each", "alone", "collapse", None),
    ("/keyed/x?utm_a=1&b=2", None, "keyed", "fetch", "absent", None),
    ("/other", None, "default", "fetch", "absent", None),
])
def test_the_route_is_told_and_what_it_says(lab, tmp_path, target, method, route, what, why, status):
    origin = lab.origin().on_all(cacheable("hello"))
    tokens, config = tmp_path / "tokens", tmp_path / "shield.yaml"
    tokens.write_text(TOKEN + "\n")
    config.write_text(f"origins: {{ default: {{ servers: ['{origin.url}'] }} }}\ndebug: {{ token_file: '{tokens}' }}\n"
                      f"routes:{ROUTES}")
    shield = lab.shield(args=["-c", config])
    headers = [("Max-Forwards", "0")] if method == "OPTIONS" else []
    said = explain(shield, target, method, headers)
    assert (said["route"], said["would"], said["why"], said["status"]) == (route, what, why, status)
    assert said["key"] == (None if what == "answer" else "//edge.test" + target.replace("utm_a=1&", ""))
    answer = ask(lab, shield, target, method or "GET", headers, body=b"" if method == "POST" else None)
    assert answer.status == (status or 200)
    assert origin.count() == (what != "answer")
    if what != "answer":
        assert answer.cache["detail"] == why
    else:
        assert shield.metric("refusals_total", reason="route") == (why == "deny")


def test_a_key_that_is_too_long(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("hello"))
    config = tmp_path / "shield.yaml"
    config.write_text(f"origins: {{ default: {{ servers: ['{origin.url}'] }} }}\nroutes:\n  - {{ key: {{ headers: [X-K] }} }}\n")
    shield = lab.shield(args=["-c", config])
    headers = [("X-K", "k" * 5000)]
    assert would(shield, "/x", headers=headers) == ("pass", "key")
    assert lab.ask(shield, "/x", headers=headers).cache["fwd"] == "bypass"
    assert shield.metric("passes_total", reason="key") == 1


def test_another_host(lab, setting):
    shield = setting[1](hosts="other.test")
    assert would(shield, "/x") == ("refuse", "misdirected")


def test_nothing_is_counted(lab, setting):
    origin, start = setting
    origin.on_all(cacheable("hello"))
    shield = start()
    settle(lab, shield, "/x")
    for name in ("requests_total", "origin_responses_total", "waiter_fates_total"):
        shield.wait_metric(name, 1)

    def counted():
        return {k: v for k, v in shield.metrics().items() if k[0].endswith("_total") and "bytes" not in k[0]}
    before = counted()
    for target in ("/x", "/absent"):
        for method in ("GET", "POST", "PURGE"):
            explain(shield, target, method)
    assert counted() == before and shield.metric("flights_started_total") == 1 and origin.count() == 1


# ---- stale ----

def stale_one(lab, shield, origin, fields):
    origin.on("/s", Reply("v1", headers=fields.items()))
    settle(lab, shield, "/s")
    outlive(time.time())
    origin.hold("/s")


def test_stale_while_it_is_refreshed(lab, setting):
    origin, start = setting
    shield = start()
    stale_one(lab, shield, origin, {"Cache-Control": f"max-age={LIFE_S}, stale-while-revalidate=600", "ETag": '"1"'})
    said = explain(shield, "/s")
    assert (said["would"], said["why"]) == ("stale_and_refresh", "expired")
    window = said["variants"][0]["stale"]["while_revalidate"]
    assert window["window_s"] == 600 and window["now"] and window["until"] > said["now"]
    assert said["variants"][0]["lifetime"]["ttl_s"] <= 0
    assert ask(lab, shield, "/s").cache["hit"]
    refresh = origin.expect("/s")
    said = explain(shield, "/s")
    assert (said["would"], said["why"]) == ("stale", "expired")
    assert [(f["state"], f["waiters"]) for f in said["flights"]] == [("head", 0)]
    refresh.respond(304, {"Cache-Control": "max-age=60", "ETag": '"1"'})
    shield.wait_metric("flights", 0)
    assert would(shield, "/s") == ("hit", None)


@pytest.mark.parametrize("directives, by", [("s-maxage=%d", "s-maxage"), ("max-age=%d, must-revalidate", "must-revalidate")])
def test_what_forbids_stale(lab, setting, directives, by):
    origin, start = setting
    shield = start()
    stale_one(lab, shield, origin, {"Cache-Control": directives % LIFE_S + ", stale-while-revalidate=600"})
    said = explain(shield, "/s")
    assert (said["would"], said["why"]) == ("fetch", "expired")  # nothing to validate it with
    stale = said["variants"][0]["stale"]
    assert stale["forbidden_by"] == [by]
    assert all(stale[cause]["until"] is None and not stale[cause]["now"] for cause in stale if cause != "forbidden_by")


def test_an_expired_one_is_validated(lab, setting):
    origin, start = setting
    shield = start()
    stale_one(lab, shield, origin, {"Cache-Control": f"max-age={LIFE_S}", "ETag": '"1"'})
    assert would(shield, "/s") == ("validate", "expired")
    assert would(shield, "/s", "HEAD") == ("fetch", "expired")


# ---- what is remembered ----

def test_an_error_is_remembered(lab, setting):
    shield = setting[1](lab.dead_port(), flight__error_ttl="30s")
    assert would(shield, "/x") == ("fetch", "absent")
    assert ask(lab, shield, "/x").status == 502
    said = explain(shield, "/x")
    assert (said["would"], said["why"], said["status"]) == ("error", "connect", 502)
    assert said["remembered"]["what"] == "error" and said["remembered"]["error"] == "connect"
    assert 0 < said["remembered"]["for_s"] <= 30 and 0 < said["retry_after_s"] <= 30
    assert would(shield, "/y") == ("fetch", "absent")


def test_stale_in_the_place_of_a_remembered_error(lab, setting):
    origin, start = setting
    shield = start(flight__error_ttl="30s")
    stale_one(lab, shield, origin, {"Cache-Control": f"max-age={LIFE_S}"})
    waiting = lab.client(shield).request("/s")
    origin.expect("/s").reset()
    origin.expect("/s").reset()  # the first went over a connection that was open already
    assert waiting.response().cache["hit"]
    assert would(shield, "/s") == ("stale", "reset")


def test_what_is_not_kept_is_remembered(lab, setting):
    origin, start = setting
    origin.on_all(Reply("x", Cache_Control="private"))
    shield = start()
    settle(lab, shield, "/own")
    mark = explain(shield, "/own")["remembered"]
    assert mark["what"] == "uncacheable" and mark["error"] is None and 0 < mark["for_s"] <= 120
    assert explain(shield, "/else")["remembered"] is None


# ---- flights ----

def test_a_flight_in_the_air_is_joined(lab, setting):
    origin, start = setting
    shield = start(flight__max_waiters=2, flight__max_flights=1)
    waiting = lab.client(shield).request("/f")
    held = origin.expect("/f")
    said = explain(shield, "/f")
    assert (said["would"], said["why"]) == ("join", "absent")
    [flight] = said["flights"]
    assert flight["state"] == "head" and flight["waiters"] == 1 and flight["age_s"] >= 0
    assert would(shield, "/other") == ("refuse", "flight.max_flights")
    second = lab.client(shield).request("/f")
    shield.wait_metric("waiters", 2)
    assert would(shield, "/f") == ("refuse", "flight.max_waiters")
    assert shield.metric("limit_reached_total") == 0
    held.respond(200, {"Cache-Control": "max-age=60"}, b"x")
    assert waiting.response().status == second.response().status == 200


# ---- variants, and their terms ----

def test_variants_are_shown_with_what_they_vary_on(lab, setting):
    origin, start = setting
    origin.on_all(cacheable("hello", Vary="X-V, Accept-Encoding"))
    shield = start()
    for headers in ([("X-V", "1")], [("X-V", "2"), ("Accept-Encoding", "gzip, br")], []):
        settle(lab, shield, "/v", headers=headers)
    said = explain(shield, "/v", headers=[("Accept-Encoding", "br, gzip"), ("X-V", "2")])
    assert said["would"] == "hit" and said["varies_on"] == ["accept-encoding", "x-v"]
    assert [(v["vary"], v["selected"], v["in_memory"]) for v in said["variants"]] == [
        ({"accept-encoding": "identity", "x-v": None}, False, True),
        ({"accept-encoding": "br, gzip", "x-v": "2"}, True, True),
        ({"accept-encoding": "identity", "x-v": "1"}, False, True)]


@pytest.mark.parametrize("fields, source, lifetime_s", [
    ({"Cache-Control": "max-age=50, s-maxage=40"}, "s-maxage", 40),
    ({"Cache-Control": "max-age=50"}, "max-age", 50),
    ({"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Expires": "Sun, 06 Nov 1994 08:50:07 GMT"}, "Expires", 30),
    ({"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Last-Modified": "Sun, 06 Nov 1994 08:32:57 GMT"}, "heuristic", 100),
    ({"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=30"}, "max-age", 30),
    ({"Cache-Control": "max-age=9", "Surrogate-Control": "max-age=31"}, "max-age", 31),
    ({"Shield-Cache-Control": "s-maxage=32", "CDN-Cache-Control": "max-age=30"}, "s-maxage", 32),
])
def test_the_lifetime_term_by_term(lab, setting, fields, source, lifetime_s):
    origin, start = setting
    origin.on_all(Reply("hello", headers=list(fields.items()) + [("Age", "10")]))
    shield = start()
    settle(lab, shield, "/t")
    [variant] = explain(shield, "/t")["variants"]
    terms = variant["lifetime"]
    assert (terms["lifetime_from"], terms["freshness_lifetime_s"], terms["age_value_s"]) == (source, lifetime_s, 10)
    directed = source in ("s-maxage", "max-age")
    field = next((name for name in ("Shield-Cache-Control", "CDN-Cache-Control", "Surrogate-Control") if name in fields),
                 "Cache-Control")
    assert terms["lifetime_field"] == (field if directed else None)
    assert terms["corrected_initial_age_s"] == pytest.approx(10 + terms["response_delay_s"])
    assert terms["current_age_s"] == pytest.approx(terms["corrected_initial_age_s"] + terms["resident_time_s"])
    assert terms["ttl_s"] == pytest.approx(lifetime_s - terms["current_age_s"])
    assert terms["request_time"] <= terms["response_time"]
    if "Date" in fields:
        assert terms["date"] == "1994-11-06T08:49:37.000Z"


@pytest.mark.parametrize("rule, status, source, lifetime_s", [
    ("ttl: 70s", 200, "ttl", 70), ("ttl_default: 70s", 200, "max-age", 50), ("ttl_min: 70s", 200, "ttl_min", 70),
    ("ttl_max: 40s", 200, "ttl_max", 40), ("ttl_max: 60s", 200, "max-age", 50),
    ("ttl_by_status: { 404: 30s }", 404, "ttl_by_status", 30), ("ttl: 70s", 404, "max-age", 50),
])
def test_a_lifetime_of_the_route(lab, tmp_path, rule, status, source, lifetime_s):
    origin = lab.origin().on_all(Reply("x", status=status, Cache_Control="max-age=50"))
    config = tmp_path / "shield.yaml"
    config.write_text(f"origins: {{ default: {{ servers: ['{origin.url}'] }} }}\nroutes:\n  - {{ {rule} }}\n")
    shield = lab.shield(args=["-c", config])
    settle(lab, shield, "/t")
    terms = explain(shield, "/t")["variants"][0]["lifetime"]
    assert terms["lifetime_from"] == source
    assert terms["freshness_lifetime_s"] - terms["corrected_initial_age_s"] == pytest.approx(lifetime_s, abs=PATIENCE_S)
    assert terms["lifetime_field"] == ("Cache-Control" if source == "max-age" else None)


# ---- on disk ----

def test_what_only_the_disk_has(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("hello", Vary="X-V"))
    first = lab.shield(origin, store=tmp_path / "store")
    for value in "12":
        lab.ask(first, "/d", X_V=value)
    first.wait_stored()
    both = explain(first, "/d", headers=[("X-V", "1")])
    assert both["would"] == "hit" and [(v["in_memory"], v["on_disk"]) for v in both["variants"]] == [(True, True)] * 2
    assert first.stop() == 0

    second = lab.shield(origin, store=tmp_path / "store")
    for _ in range(2):  # looking brings nothing into memory
        said = explain(second, "/d", headers=[("X-V", "1")])
        assert (said["would"], said["why"]) == ("hit", None)
        assert [(v["vary"]["x-v"], v["selected"], v["in_memory"], v["on_disk"], v["length"]) for v in said["variants"]] == [
            ("2", False, False, True, 5), ("1", True, False, True, 5)]
    assert would(second, "/d", headers=[("X-V", "3")])[0] == "fetch"
    assert would(second, "/d", headers=AUTH + [("X-V", "1")]) == ("alone", "authorization")  # only memory is asked for it
    assert second.metric("store_ram_objects") == 0
    assert lab.ask(second, "/d", X_V="1").cache["hit"] and origin.count() == 2
    assert explain(second, "/d", headers=[("X-V", "1")])["variants"][0]["in_memory"]


def test_only_what_the_disk_has(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("hello"))
    first = lab.shield(origin, store=tmp_path / "store")
    lab.ask(first, "/d")
    first.wait_stored()
    assert first.stop() == 0
    second = lab.shield(origin, store=tmp_path / "store", sets={"client.cache_control": "obey"})
    only = [("Cache-Control", "only-if-cached")]
    assert would(second, "/d", headers=only) == ("hit", None)
    assert would(second, "/none", headers=only) == ("error", "not_stored")
    assert [lab.ask(second, target, headers=only).status for target in ("/d", "/none")] == [200, 504]
    assert origin.count() == 1


def test_what_is_stale_on_disk(lab, tmp_path):
    origin = lab.origin().on("/swr", Reply("x", Cache_Control=f"max-age={LIFE_S}, stale-while-revalidate=600"))
    origin.on("/etag", Reply("x", Cache_Control=f"max-age={LIFE_S}", ETag='"1"'))
    first = lab.shield(origin, store=tmp_path / "store")
    for target in ("/swr", "/etag"):
        lab.ask(first, target)
    stored_at = time.time()
    first.wait_stored()
    assert first.stop() == 0
    outlive(stored_at)
    second = lab.shield(origin, store=tmp_path / "store")
    assert would(second, "/swr") == ("stale_and_refresh", "expired")
    assert would(second, "/etag") == ("validate", "expired")
    assert origin.count() == 2


@pytest.mark.parametrize("on_disk", [False, True])
def test_one_connection_and_those_who_leave(lab, tmp_path, on_disk):
    shield = lab.shield(lab.origin(), store=tmp_path / "store" if on_disk else None)
    request = f"GET {path_of('/x')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for _ in range(200):  # more than may be open, or in the making
        impatient = socket.create_connection(shield.admin, timeout=PATIENCE_S)
        impatient.sendall(request)
        reset(impatient)
    assert shield.admin_get("/livez")[0] == 200  # they keep no probe out
    until("their answers have been made and dropped", lambda: shield.admin_get(path_of("/x"))[0] == 200)
    with socket.create_connection(shield.admin, timeout=PATIENCE_S) as s:
        s.sendall(request * 3 + b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b"".join(iter(lambda: s.recv(65536), b""))
    assert got.count(b"HTTP/1.1 200") == 4 and got.count(b'"would":"fetch"') == 3 and got.endswith(b"ok\n")
    assert shield.admin_get(path_of("/x"), "HEAD")[:2] == (200, "")


def test_while_the_same_key_is_fetched_stored_and_evicted(lab, tmp_path):
    """For the sanitizers: the admin thread looks at what workers, readers and the writer are changing."""
    origin = lab.origin().on_all(lambda r: cacheable(b"z" * 100_000, seconds=len(origin.requests()) % 2, Vary="X-V"))
    shield = lab.shield(origin, store=tmp_path / "store", workers=2, sets={"store.ram": "1m"})
    crowds = [lab.crowd(shield, 10) for _ in range(12)]
    for i, crowd in enumerate(crowds):
        crowd.get(f"/{i % 3}", X_V=str(i))
        for target in ("/0", "/1", "/2"):
            assert explain(shield, target, headers=[("X-V", str(i))])["would"] in (
                "hit", "join", "fetch", "alone", "validate", "stale", "stale_and_refresh")
    for crowd in crowds:
        assert all(a.status == 200 for a in crowd.responses())


def test_the_shield_ends_while_answers_are_being_made(lab, tmp_path):
    shield = lab.shield(lab.origin(), store=tmp_path / "store")
    request = f"GET {path_of('/x')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    asking = [socket.create_connection(shield.admin, timeout=PATIENCE_S) for _ in range(40)]
    for s in asking:
        s.sendall(request * 20)
    assert shield.stop() == 0
    for s in asking:
        s.close()


# ---- bad questions ----

@pytest.mark.parametrize("query, told", [
    ("", "url=http://HOST/PATH"), ("?", "url=http://HOST/PATH"), ("?url=", "url=http://HOST/PATH"),
    ("?url=/x", "url=http://HOST/PATH"), ("?url=//h/x", "url=http://HOST/PATH"), ("?url=ftp://h/x", "url=http://HOST/PATH"),
    ("?url=http://h/x&url=http://h/y", "came twice"), ("?url=http://h/x&b=1", "%26"), ("?url=http://h/%zz", "%25"),
    ("?url=http://h/x&header=nonsense", "header=Name:%20value"), ("?url=http://h/x&header=A%20B:%20c", "header=Name:%20value"),
    ("?url=http://h/x&header=A:%20b%0d%0aC:%20d", "one line"), ("?url=http://h/x&header=Host:%20i", "leave header=Host out"),
    ("?url=http://h/x&method=a%20b", "method=GET"), ("?url=http://u@h/x", "no client may send this"),
    ("?url=http://h/x&header=Content-Length:%20a", "no client may send this"),
    ("?url=http://h/x&header=Transfer-Encoding:%20odd", "no client may send this"), ("?url=http://h/a%20b", "no client may send this"),
])
def test_a_bad_question_says_what_would_be_right(lab, query, told):
    shield = lab.shield(lab.origin())
    status, text, headers = shield.admin_get("/explain" + query)
    assert status == 400 and headers["Content-Type"] == "application/json"
    assert told in json.loads(text)["error"]


def test_the_url_is_read_as_a_key_is_made(lab):
    shield = lab.shield(lab.origin())
    for url, key in {"http://EDGE.test:80/a?b": "//edge.test/a?b", "http://edge.test": "//edge.test/",
                     "http://edge.test?q=1": "//edge.test/?q=1", "http://[::1]:81/%25": "//[::1]:81/%"}.items():
        status, text, _ = shield.admin_get(f"/explain?url={quote(url, safe='') if '%25' not in url else url}")
        assert status == 200 and json.loads(text)["key"] == key, text


# ---- shieldctl ----

def ctl(shield, *args):
    done = subprocess.run([os.path.join(os.path.dirname(SHIELD), "shieldctl"), "--admin", "%s:%d" % shield.admin, *args],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_shieldctl_explains(lab):
    origin = lab.origin().on_all(cacheable("hello", Vary="X-V"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x?a=1&b=2", X_V="1 & 2")
    code, out, err = ctl(shield, "explain", HOST + "/x?a=1&b=2", "-H", "X-V: 1 & 2")
    assert code == 0 and not err
    assert "would        hit\n" in out and "key          //edge.test/x?a=1&b=2\n" in out and "lifetime_from" in out
    code, out, _ = ctl(shield, "--json", "explain", HOST + "/x?a=1&b=2", "-X", "POST")
    assert code == 0 and json.loads(out)["would"] == "pass"
    assert "would        pass: method\n" in ctl(shield, "explain", "-X", "POST", HOST + "/x")[1]


@pytest.mark.parametrize("args, code, told", [
    (("explain",), 2, "give it a URL"), (("explain", "/x"), 1, "url=http://HOST/PATH"), (("explain", "a", "b"), 2, "one word too many"),
    (("stats", "-H", "A: b"), 2, "are for explain"), (("stats", "a"), 2, "one word too many"),
])
def test_shieldctl_says_what_is_wrong(lab, args, code, told):
    shield = lab.shield(lab.origin())
    got, _, err = ctl(shield, *args)
    assert got == code and told in err
