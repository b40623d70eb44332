"""Fields of what leaves us, in both directions."""
import re

import pytest

from scripted_origin import Reply, cacheable

UNKEYED = ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port", "X-Forwarded-Prefix",
           "X-Forwarded-Server", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Forwarded"]


# responses

def test_via_and_cache_status_are_appended(lab):
    origin = lab.origin().on("/x", cacheable("x", Via="1.0 inner", Cache_Status="inner; hit; ttl=5"))
    shield = lab.shield(origin)
    for ours in ("shield; fwd=miss; stored", "shield; hit; ttl="):
        answer = lab.ask(shield, "/x")
        assert answer.fields.joined("Via") == "1.0 inner, 1.1 shield"
        assert answer.fields.joined("Cache-Status").startswith("inner; hit; ttl=5, " + ours)


def test_the_node_is_named(lab):
    origin = lab.origin().on("/x", cacheable("x"))
    shield = lab.shield(origin, sets={"node.name": "edge7"})
    assert lab.ask(shield, "/x").cache_status == "shield-edge7; fwd=miss; stored"
    answer = lab.ask(shield, "/x")
    assert answer.cache["said_by"] == "shield-edge7" and answer.cache["hit"]
    assert answer["Via"].endswith("shield-edge7")
    assert origin.requests()[0].get("CDN-Loop") == "shield-edge7"
    refused = lab.ask(shield, "/x", CDN_Loop="shield-edge7")
    assert refused.status == 508 and refused["Proxy-Status"].startswith("shield-edge7; error=")


def test_end_to_end_fields_come_through_and_hop_by_hop_do_not(lab):
    origin = lab.origin().on("/x", cacheable("x", headers=[
        ("Connection", "X-Hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "x"),
        ("X-Twice", "1"), ("X-Twice", "2"), ("X-Empty", ""), ("Content-Type", "text/plain; a=b"), ("Link", "</a>"),
        ("X-Latin", "caf\xe9")]))
    shield = lab.shield(origin)
    for _ in range(2):
        answer = lab.ask(shield, "/x")
        for name in ("X-Hop", "Keep-Alive", "Proxy-Connection"):
            assert name not in answer.fields
        assert answer.fields.all("X-Twice") == ["1", "2"]
        assert answer["X-Empty"] == "" and answer["Content-Type"] == "text/plain; a=b" and answer["X-Latin"] == "caf\xe9"
        assert answer["Cache-Control"] == "max-age=60"


def test_a_date_is_given_where_there_is_none(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    origin.expect("/x").respond(200, {"Cache-Control": "max-age=60"}, b"x", date=False)
    made = client.response()["Date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", made)
    assert client.ask("/x")["Date"] == made


def test_the_date_of_the_origin_stays(lab):
    origin = lab.origin().on("/x", cacheable("x", Date="Mon, 01 Jan 2024 00:00:00 GMT"))
    shield = lab.shield(origin)
    for _ in range(2):
        assert lab.ask(shield, "/x")["Date"] == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_trailers_are_dropped(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    held.send_head(200, {"Cache-Control": "max-age=60", "Trailer": "X-T"}, chunked=True).chunk(b"abc")
    held.send(b"0\r\nX-T: 1\r\n\r\n").finish()
    assert client.response().body == b"abc"
    assert client.ask("/x").body == b"abc"
    assert origin.connections == 1 and origin.count() == 1


def test_reason_phrases_and_odd_statuses(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    origin.expect("/x").send(b"HTTP/1.1 299 \r\nContent-Length: 1\r\n\r\nx").finish()
    answer = client.response()
    assert (answer.status, answer.body) == (299, b"x")


@pytest.mark.parametrize("status", [204, 205])
def test_statuses_without_a_body(lab, status):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", "POST", body=b"")
    held = origin.expect("/x")
    held.send(f"HTTP/1.1 {status} Fine\r\n{'Content-Length: 0' if status == 205 else 'X-A: b'}\r\n\r\n".encode()).finish()
    answer = client.response()
    assert answer.status == status and answer.body == b""
    assert "Transfer-Encoding" not in answer.fields
    client.request("/x", "POST", body=b"")
    origin.expect("/x").respond(200, body=b"next")
    assert client.response().body == b"next"


# requests

def test_what_goes_upstream(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x?q=1", headers=[
        ("Connection", "X-Hop, Keep-Alive"), ("X-Hop", "1"), ("Keep-Alive", "1"), ("TE", "trailers"), ("Upgrade", "h2c"),
        ("Proxy-Connection", "x"), ("Via", "1.1 edge"), ("CDN-Loop", "other; v=1"), ("X-Own", "a"), ("X-Own", "b"),
        ("User-Agent", "u"), ("Cookie", "c=1")])
    (request,) = origin.requests()
    assert request.raw.startswith(b"GET /x?q=1 HTTP/1.1\r\n")
    assert request.fields.all("Host") == ["edge.test"]
    for name in ("X-Hop", "Keep-Alive", "TE", "Upgrade", "Proxy-Connection"):
        assert name not in request
    assert re.fullmatch(r"1\.1 edge, 1\.1 shield", request.fields.joined("Via"))
    loop = request.fields.joined("CDN-Loop")
    assert re.fullmatch(r"other; v=1, shield-\S+", loop)
    assert request.fields.joined("X-Own") in ("a, b",)
    assert request.get("User-Agent") == "u" and request.get("Cookie") == "c=1"


@pytest.mark.parametrize("method, passed", [("GET", False), ("HEAD", False), ("POST", True)])
def test_unkeyed_inputs(lab, method, passed):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x", method, headers=[(name, "evil") for name in UNKEYED])
    (request,) = origin.requests()
    assert [name for name in UNKEYED if name in request] == (UNKEYED if passed else [])


def test_the_host_of_the_origin_can_be_set(lab):
    origin = lab.origin().on_all(lambda request: cacheable(request.get("Host")))
    shield = lab.shield(origin, sets={"origins.default.host": "inner.test"})
    assert lab.ask(shield, "/x").body == b"inner.test"
    assert lab.ask(shield, "/x", "POST", body=b"").body == b"inner.test"


def test_an_absolute_target_goes_upstream_in_origin_form(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "http://named.test/x?y", host="ignored.test")
    (request,) = origin.requests()
    assert request.target == "/x?y" and request.get("Host") == "named.test"


# loops

def test_our_own_id_in_cdn_loop_is_a_loop(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    ours = origin.requests()[0].get("CDN-Loop")
    for value in (ours, f"other, {ours}", f"{ours}; a=b, other"):
        answer = lab.ask(shield, "/y", CDN_Loop=value)
        assert answer.status == 508 and "Proxy-Status" in answer.fields
    assert lab.ask(shield, "/y", CDN_Loop="shield, shield-other, " + ours + "x").status == 200
    assert origin.count("/y") == 1


def test_a_real_loop_ends(lab):
    """Two shields that take each other for the origin."""
    first = lab.shield("http://127.0.0.1:1")
    port = first.address[1]
    assert first.stop() == 0
    second = lab.shield(f"http://127.0.0.1:{port}")
    first = lab.shield(f"http://127.0.0.1:{second.address[1]}", listen=[f"127.0.0.1:{port}"])
    assert lab.ask(first, "/x").status == 508


# answers of our own

def test_own_errors_tell_what_and_from_whom(lab):
    shield = lab.shield(lab.dead_port())
    answer = lab.ask(shield, "/x")
    assert answer.status == 502
    assert answer["Proxy-Status"] == "shield; error=connection_refused"
    assert "Date" in answer.fields and answer["Content-Length"] == str(len(answer.body))
    assert lab.ask(shield, "/x", "HEAD").body == b""


def test_via_of_an_old_origin(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    origin.expect("/x").send(b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nold").close()
    answer = client.response()
    assert (answer.version, answer.body, answer.end) == ("1.1", b"old", "clean")
    assert origin.requests()[0].version == "HTTP/1.1"


def test_repeated_answers_are_the_same_bytes(lab):
    origin = lab.origin().on("/x", Reply("x" * 1000, Cache_Control="max-age=60", ETag='"a"', Content_Type="text/x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    one, two = lab.ask(shield, "/x"), lab.ask(shield, "/x")
    strip = re.compile(rb"(ttl=|Age: )\d+")
    assert strip.sub(b"", one.raw_head) == strip.sub(b"", two.raw_head)
