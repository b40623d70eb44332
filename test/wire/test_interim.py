"""Interim responses (RFC 9110 section 15.2): a proxy passes 1xx on, in order, each once, before the final head."""
import pytest

from http_text import request_bytes
from patience import until
from scripted_origin import cacheable

FRESH = {"Cache-Control": "max-age=60"}


def hint(n, *lines, status=103):
    fields = "".join(f"{line}\r\n" for line in (f"Link: </{n}>; rel=preload", *lines))
    return f"HTTP/1.1 {status} Early Hints\r\n{fields}\r\n".encode()


def links(answers):
    return [fields.get("Link") for _, fields in answers]


def said(*numbers):
    return [f"</{n}>; rel=preload" for n in numbers]


def test_they_come_at_once_and_in_order(lab):
    """15.2: forwarded; 102 as well as 103, and before the final head is there."""
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x")
    held = origin.expect("/x").send(hint(1))
    assert links(client.interims(1)) == said(1)
    held.send(b"HTTP/1.1 102 Processing\r\n\r\n" + hint(2))
    assert [status for status, _ in client.interims(3)] == [103, 102, 103]
    held.respond(200, FRESH, b"x")
    answer = client.response()
    assert (answer.status, answer.body, links(answer.interim)) == (200, b"x", [*said(1), None, *said(2)])


def test_together_with_the_final_head(lab):
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x")
    origin.expect("/x").send(hint(1) + hint(2) + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").finish()
    answer = client.response()
    assert (answer.status, answer.body, links(answer.interim)) == (200, b"x", said(1, 2))


def test_fields_of_an_interim_response(lab):
    """7.6.1: hop-by-hop and what Connection names goes; 7.6.3: Via is added; 5.3: lines keep their order; 8.6: no length."""
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x")
    held = origin.expect("/x").send(hint(1, "Via: 1.0 inner", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5",
                                         "X-Two: 1", "X-Two: 2", "Content-Length: 7", "Transfer-Encoding: chunked"))
    ((_, fields),) = client.interims(1)
    assert fields.lines == [("Link", "</1>; rel=preload"), ("X-Two", "1"), ("X-Two", "2"), ("Via", "1.0 inner, 1.1 shield")]
    held.respond(200, FRESH, b"x")
    assert client.response().body == b"x"


def test_never_to_http_1_0(lab):
    """15.2: HTTP/1.0 has no 1xx; who joined with 1.1 gets them."""
    origin = lab.origin()
    shield = lab.shield(origin)
    old = lab.client(shield).request("/x", version="1.0")
    held = origin.expect("/x")
    new = lab.client(shield).request("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send(hint(1))
    assert links(new.interims(1)) == said(1)
    held.respond(200, FRESH, b"x")
    for client, seen in ((old, []), (new, said(1))):
        answer = client.response()
        assert (answer.body, links(answer.interim)) == (b"x", seen)


def test_they_can_be_kept_from_edges_that_cannot_read_them(lab):
    origin = lab.origin()
    edge = lab.edge(lab.shield(origin, sets={"http.forward_1xx": "off"}))
    client = lab.client(edge).request("/x")
    origin.expect("/x").send(hint(1)).respond(200, FRESH, b"x")
    answer = client.response()
    assert (answer.status, answer.body, answer.interim) == (200, b"x", [])


def test_all_who_wait_get_each_once(lab):
    """Over several workers; who joins between two hints gets the first as well; a hit has none."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    held.send(hint(1))
    crowd.until("hinted", lambda answer: len(answer.interim) == 1)
    late = lab.crowd(shield, 20).get("/x")
    late.until("hinted", lambda answer: len(answer.interim) == 1)
    held.send(hint(2))
    late.until("hinted again", lambda answer: len(answer.interim) == 2)
    held.respond(200, FRESH, b"x")
    for answer in crowd.responses() + late.responses():
        assert (answer.body, links(answer.interim)) == (b"x", said(1, 2))
    hit = lab.ask(shield, "/x")
    assert hit.cache["hit"] and not hit.interim
    assert origin.count() == 1


def test_none_behind_the_final_head(lab):
    """Who joins a body that is on its way reads it like a hit."""
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/x")
    held = origin.expect("/x").send(hint(1)).send_head(200, FRESH, length=2).send(b"a")
    first.body(1)
    second = lab.client(shield).request("/x")
    assert second.body(1) == b"a"
    held.send(b"b").finish()
    assert links(first.response().interim) == said(1)
    answer = second.response()
    assert (answer.body, answer.interim) == (b"ab", [])


@pytest.mark.parametrize("method, asked, status", [
    ("HEAD", {}, 200), ("GET", {"If_None_Match": '"a"'}, 304), ("GET", {"Range": "bytes=1-1"}, 206),
    ("GET", {"Range": "bytes=9-"}, 416), ("GET", {"Authorization": "a"}, 200), ("POST", {"body": b"q"}, 200)])
def test_whatever_is_asked(lab, method, asked, status):
    """HEAD, conditions, ranges, and requests that go alone."""
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x", method, **asked)
    held = origin.expect("/x").send(hint(1))
    assert links(client.interims(1)) == said(1)
    held.respond(200, {**FRESH, "ETag": '"a"'}, b"abc")
    answer = client.response()
    assert (answer.status, links(answer.interim)) == (status, said(1))


def test_the_released_get_those_of_their_own_fetch(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/x")
    held = origin.expect("/x")
    second = lab.client(shield).request("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send(hint(1)).respond(200, {"Cache-Control": "private"}, b"first")
    own = origin.expect("/x").send(hint(2))
    second.interims(1)
    own.respond(200, {"Cache-Control": "private"}, b"second")
    assert links(first.response().interim) == said(1)
    answer = second.response()
    assert answer.body == b"second" and links(answer.interim)[-1:] == said(2)


@pytest.mark.parametrize("shared", [True, False])
def test_what_may_be_private_is_not_told_before_the_head(lab, shared):
    """The request had a Cookie: its hints are its client's, until the final head is for everyone."""
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/x", Cookie="user=1")
    held = origin.expect("/x")
    second = lab.client(shield).request("/x", Cookie="user=2")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send(hint(1))
    assert links(first.interims(1)) == said(1)
    if shared:
        held.respond(200, FRESH, b"first")
    else:
        held.respond(200, {"Cache-Control": "private"}, b"first")
        origin.expect("/x").send(hint(2)).respond(200, FRESH, b"second")
    assert links(first.response().interim) == said(1)
    answer = second.response()
    assert (answer.body, links(answer.interim)) == ((b"first", said(1)) if shared else (b"second", said(2)))


def test_a_cookie_that_is_set_early_is_for_one(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/x")
    held = origin.expect("/x")
    second = lab.client(shield).request("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send(hint(1, "Set-Cookie: a=b") + hint(2))
    assert links(first.interims(2)) == said(1, 2)
    held.respond(200, FRESH, b"x")
    assert links(second.response().interim) == said(2)


@pytest.mark.parametrize("expects", [True, False])
def test_a_100_of_the_origin(lab, expects):
    """15.2 and 10.1.1: passed on, but never a second one to a client that we have invited."""
    origin = lab.origin()
    client = lab.client(lab.shield(origin))
    fields = {"Expect": "100-continue"} if expects else {}
    client.send(request_bytes("/up", "POST", Content_Length="2", **fields))
    held = origin.expect("/up").send(b"HTTP/1.1 100 Continue\r\n\r\n" + hint(1))
    assert [status for status, _ in client.interims(2)] == [100, 103]
    client.send(b"hi")
    assert held.read_body() == b"hi"
    held.respond(200, body=b"ok")
    answer = client.response()
    assert answer.body == b"ok" and [status for status, _ in answer.interim] == [100, 103]


def test_pipelined_answers_keep_their_order(lab):
    """RFC 9112 section 9.3.2: the second one's hints stand behind the first one's answer."""
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).send(request_bytes("/1") + request_bytes("/2"))
    one = origin.expect("/1").send(hint(1))
    client.interims(1)
    one.respond(200, FRESH, b"one")
    answer = client.response()
    assert (answer.body, links(answer.interim)) == (b"one", said(1))
    origin.expect("/2").send(hint(2)).respond(200, FRESH, b"two")
    answer = client.response()
    assert (answer.body, links(answer.interim)) == (b"two", said(2))


def test_an_error_of_ours_may_follow(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x").send(hint(1))
    client.interims(1)
    held.reset()
    assert client.response().status == 502
    assert client.ask("/x").status == 502


def test_validations_and_refreshes(lab):
    """A 304 renews what is stored: who waits for it gets its hints; nobody gets those of a refresh, or a hit any."""
    origin = lab.origin().on("/x", cacheable("x", seconds=0, ETag='"a"'))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.hold("/x")
    client = lab.client(shield).request("/x")
    held = origin.expect("/x").send(hint(1))
    client.interims(1)
    held.respond(304, {"ETag": '"a"', "Cache-Control": "max-age=0, stale-while-revalidate=60"})
    answer = client.response()
    assert (answer.status, answer.body, links(answer.interim)) == (200, b"x", said(1))
    until("stale is served meanwhile", lambda: "hit" in lab.ask(shield, "/x").cache)
    held = origin.expect("/x").send(hint(2))
    assert not lab.ask(shield, "/x").interim
    held.respond(304, {"ETag": '"a"', **FRESH})
    until("it is fresh", lambda: lab.ask(shield, "/x").cache["ttl"] > 0)
    assert not lab.ask(shield, "/x").interim


def test_all_together_they_are_no_larger_than_one_head(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.max_head": "8k"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x").send(hint(1, "X: " + "a" * 3000) * 2)
    client.interims(2)
    held.send(hint(1, "X: " + "a" * 3000))
    assert client.response().status == 502
    shield.wait_metric("limit_reached_total", 1, limit="http.max_1xx")
    held.wait_closed()


def unread(lab, tmp_path, **sets):
    """A shield on a Unix socket, whose buffers take some 200 KB and no more, and an origin that may hint a lot."""
    origin = lab.origin()
    sets = {"client.max_head": "1m", **{name.replace("__", "."): value for name, value in sets.items()}}
    return origin, lab.shield(origin, listen=[f"unix:{tmp_path}/socket"], sets=sets)


def test_a_client_that_does_not_read_keeps_nobody_waiting(lab, tmp_path):
    """Its own answer waits behind the hints; the others go on."""
    origin, shield = unread(lab, tmp_path)
    slow = lab.client(shield).request("/x")
    held = origin.expect("/x")
    quick = lab.client(shield).request("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send(hint(1, "X: " + "a" * 60000) * 15)
    quick.interims(15)
    held.respond(200, FRESH, b"x")
    assert quick.response().body == b"x"
    answer = slow.response()
    assert (answer.body, links(answer.interim)) == (b"x", said(*[1] * 15))


def test_a_client_that_never_reads_is_cut(lab, tmp_path):
    """client.write_timeout holds for hints that stand before a final head."""
    origin, shield = unread(lab, tmp_path, client__write_timeout="1s")
    client = lab.client(shield).request("/x")
    origin.expect("/x").send(hint(1, "X: " + "a" * 60000) * 15).respond(200, FRESH, b"x")
    shield.wait_metric("limit_reached_total", 1, limit="client.write_timeout")
    assert client.response().is_cut
