"""HEAD, and every method that is passed through."""
import os
import threading
import time

import pytest

from http_text import chunk, request_bytes
from patience import until
from scripted_origin import Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}


# HEAD

def test_head_is_answered_from_a_stored_get(lab):
    origin = lab.origin().on("/x", cacheable("hello", X_A="b"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    client = lab.client(shield)
    head = client.ask("/x", "HEAD")
    assert (head.status, head["Content-Length"], head["X-A"], head.body) == (200, "5", "b", b"")
    assert head.cache["hit"]
    assert client.ask("/x").body == b"hello"
    assert origin.count() == 1


def test_heads_share_a_head_which_no_get_joins(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    heads = lab.crowd(shield, 10).send(request_bytes("/x", "HEAD"), "HEAD")
    held = origin.expect("/x")
    assert held.method == "HEAD"
    shield.wait_metric("collapsed_requests_total", 9)
    get = lab.client(shield).request("/x")
    fetch = origin.expect("/x")
    assert fetch.method == "GET"
    fetch.respond(200, FRESH, b"hello")
    assert get.response().body == b"hello"
    held.send_head(200, FRESH, length=5).finish()
    for answer in heads.responses():
        assert (answer.status, answer["Content-Length"], answer.body) == (200, "5", b"")
    assert origin.count() == 2


def test_a_head_is_not_stored_by_itself(lab):
    origin = lab.origin().on("/x", cacheable("hello"))
    shield = lab.shield(origin)
    assert "stored" not in lab.ask(shield, "/x", "HEAD").cache
    answer = lab.ask(shield, "/x")
    assert answer.body == b"hello" and "hit" not in answer.cache
    assert [r.method for r in origin.requests()] == ["HEAD", "GET"]


def test_a_head_joins_a_get_for_its_head_alone(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    get = lab.client(shield).request("/x")
    held = origin.expect("/x")
    head = lab.client(shield).request("/x", "HEAD")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send_head(200, FRESH, length=5)
    answer = head.response()
    assert (answer.status, answer["Content-Length"]) == (200, "5")
    held.send(b"hello").finish()
    assert get.response().body == b"hello"
    assert origin.count() == 1


# passed through

@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO"])
def test_other_methods_are_passed(lab, method):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    for i in range(2):
        client.request("/form?x=1", method, body=b"content %d" % i, Content_Type="text/plain")
        held = origin.expect("/form?x=1")
        assert (held.method, held.read_body(), held.get("Content-Type")) == (method, b"content %d" % i, "text/plain")
        held.respond(201, FRESH, b"answer %d" % i)
        answer = client.response()
        assert (answer.status, answer.body, answer.cache_status) == (201, b"answer %d" % i, "shield; fwd=method")
    shield.wait_metric("requests_total", 2, result="pass")
    shield.wait_metric("origin_requests_total", 2, kind="pass")


def test_a_method_without_content(lab):
    origin = lab.origin().on("/x", Reply(status=204))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x", "DELETE").status == 204
    (request,) = origin.requests()
    assert request.reader.kind == "none"


def test_options_for_the_server_itself(lab):
    origin = lab.origin().on("*", Reply(Allow="GET"))
    shield = lab.shield(origin)
    assert lab.ask(shield, "*", "OPTIONS")["Allow"] == "GET"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_content_with_a_length_streams_up_while_it_comes(lab, version):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Content_Length="10", version=version) + b"first")
    held = origin.expect("/up")
    assert held.get("Content-Length") == "10"
    assert held.read_body(5) == b"first"
    client.send(b"secnd")
    assert held.read_body() == b"firstsecnd"
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_chunked_content_streams_up_and_chunked_answers_stream_down(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Transfer_Encoding="chunked") + chunk(b"first"))
    held = origin.expect("/up")
    assert held.get("Transfer-Encoding") == "chunked" and "Content-Length" not in held
    assert held.read_body(5) == b"first"
    held.send_head(200, chunked=True).chunk(b"early")
    assert client.body(5) == b"early"
    client.send(chunk(b"second") + b"0\r\n\r\n")
    assert held.read_body() == b"firstsecond"
    held.chunk(b"late").last_chunk()
    answer = client.response()
    assert (answer.body, answer.end) == (b"earlylate", "clean")


def test_an_upload_may_take_longer_than_the_timeouts_of_an_answer(lab):
    """DESIGN section 2: head_timeout runs from the request's last byte, waiter_timeout from when the request is whole."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.waiter_timeout": "1s", "origins.default.head_timeout": "1s"})
    client = lab.client(shield).send(request_bytes("/up", "POST", Content_Length="3") + b"1")
    held = origin.expect("/up")
    for byte in b"23":
        time.sleep(0.7)
        client.send(bytes([byte]))
    assert held.read_body() == b"123"
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_100_continue(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Content_Length="5", Expect="100-continue"))
    held = origin.expect("/up")
    if "Expect" in held:
        held.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.interim()[0] == 100
    client.send(b"12345")
    assert held.read_body() == b"12345"
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_interim_answers_do_not_end_a_request(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    origin.expect("/x").send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3).respond(200, FRESH, b"x")
    assert client.response().body == b"x"


def test_too_many_interim_answers_are_an_error(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x").send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)
    assert client.response().status == 502
    held.wait_closed()


def test_unsafe_requests_are_never_collapsed(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 5).send(request_bytes("/x", "POST", body=b"x"))
    held = [origin.expect("/x") for _ in range(5)]
    for i, request in enumerate(held):
        request.respond(200, body=b"%d" % i)
    assert sorted(a.body for a in crowd.responses()) == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_get_with_content_is_a_pass(lab, method):
    origin = lab.origin()
    shield = lab.shield(origin)
    origin.on("/x", cacheable("hello"))
    lab.ask(shield, "/x")
    origin.hold("/x")
    clients = [lab.client(shield).request("/x", method, body=b"query") for _ in range(2)]
    for request in [origin.expect("/x"), origin.expect("/x")]:
        assert (request.method, request.read_body()) == (method, b"query")
        request.respond(200, FRESH, b"found")
    for client in clients:
        answer = client.response()
        assert answer.status == 200 and answer.cache_status == "shield; fwd=bypass"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FOO"])
@pytest.mark.parametrize("status, gone", [(200, True), (204, True), (303, True), (404, False), (500, False)])
def test_an_unsafe_method_that_works_invalidates(lab, method, status, gone):
    origin = lab.origin().on("/x", cacheable("old"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.on("/x", Reply(status=status))
    assert lab.ask(shield, "/x", method).status == status
    origin.on("/x", cacheable("new"))
    assert lab.ask(shield, "/x").body == (b"new" if gone else b"old")


def test_a_safe_method_does_not_invalidate(lab):
    origin = lab.origin().on("/x", cacheable("old"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    lab.ask(shield, "/x", "OPTIONS")
    assert lab.ask(shield, "/x").cache["hit"]


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("value, gone", [("/x", True), ("http://edge.test/x", True), ("http://other.test/x", False)])
def test_what_an_unsafe_method_points_at_is_invalidated(lab, field, value, gone):
    origin = lab.origin().on("/x", cacheable("old"))
    shield = lab.shield(origin)
    for host in ("edge.test", "other.test"):
        lab.ask(shield, "/x", host=host)
    origin.on("/form", Reply(status=201, headers=[(field, value)]))
    assert lab.ask(shield, "/form", "POST", body=b"").status == 201
    assert ("hit" in lab.ask(shield, "/x").cache) != gone
    assert lab.ask(shield, "/x", host="other.test").cache["hit"]


@pytest.mark.parametrize("asked, fields", [
    ({}, {"Cache-Control": "max-age=60"}),
    ({"Authorization": "a"}, {"Cache-Control": "public, max-age=60"}),
    ({}, {"Cache-Control": "no-cache"}),
], ids=["shared", "alone", "to be validated"])
def test_what_was_invalidated_while_it_arrived_is_not_kept(lab, asked, fields):
    """RFC 9111 section 4.4: an answer that was on its way before the POST is as old as what the POST invalidated."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", **asked)
    held = origin.expect("/x")
    held.send_head(200, {**fields, "ETag": '"old"'}, length=2_000_000).send(b"o" * 1000)
    client.body(1000)
    post = lab.client(shield).request("/x", "POST", body=b"change")
    change = origin.expect("/x", method="POST")
    change.read_body()
    change.respond(200, body=b"done")
    assert post.response().body == b"done"
    held.send(b"o" * 1_999_000).finish()
    assert client.response().body == b"o" * 2_000_000
    shield.wait_metric("origin_inflight", 0)
    later = lab.client(shield).request("/x")
    again = origin.expect("/x")
    assert "If-None-Match" not in again
    again.respond(200, FRESH, b"new")
    assert later.response().body == b"new"


@pytest.mark.parametrize("asked, lifetime", [({}, ""), ({"Authorization": "a"}, "public, ")], ids=["shared", "alone"])
def test_what_was_invalidated_before_its_head_is_not_kept(lab, asked, lifetime):
    """RFC 9111 section 4.4, as above, but nothing of the answer was there yet."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", **asked)
    held = origin.expect("/x")
    origin.on("/x", Reply("done"))
    assert lab.ask(shield, "/x", "POST", body=b"change").body == b"done"
    held.respond(200, {"Cache-Control": lifetime + "max-age=60"}, b"old")
    assert client.response().body == b"old"
    origin.on("/x", cacheable("new"))
    assert lab.ask(shield, "/x").body == b"new"


def test_a_post_is_not_repeated_when_a_kept_connection_dies(lab):
    origin = lab.origin().on("/warm", cacheable("warm"))
    shield = lab.shield(origin)
    lab.ask(shield, "/warm")
    client = lab.client(shield).request("/x", "POST", body=b"once")
    held = origin.expect("/x")
    held.read_body()
    held.reset()
    assert client.response().status == 502
    assert origin.count("/x") == 1


def test_an_upload_is_held_back_by_a_slow_origin(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield, timeout_s=120)
    content = os.urandom(1 << 20)
    sent = [0]

    def upload():
        client.send(request_bytes("/up", "POST", Content_Length=str(96 << 20)))
        for _ in range(96):
            client.send(content)
            sent[0] += len(content)
    thread = threading.Thread(target=upload, daemon=True)
    before = shield.rss_bytes()
    thread.start()
    held = origin.expect("/up")
    last = [-1]

    def stands_still():
        moved, last[0] = sent[0] != last[0], sent[0]
        return not moved and sent[0] > 0
    until("the upload stands still", stands_still, pause_s=0.2)
    assert sent[0] < 64 << 20, "nothing holds the client back"
    if before and shield.is_plain:
        assert shield.rss_bytes() - before < 16 << 20
    assert held.read_body() == content * 96
    thread.join()
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_a_download_is_held_back_by_a_slow_client(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield, timeout_s=120).request("/down", "POST", body=b"")
    held = origin.expect("/down")
    content = os.urandom(1 << 20)
    sent = [0]

    def download():
        held.send_head(200, length=96 << 20)
        for _ in range(96):
            held.send(content)
            sent[0] += len(content)
        held.finish()
    before = shield.rss_bytes()
    thread = threading.Thread(target=download, daemon=True)
    thread.start()
    last = [-1]

    def stands_still():
        moved, last[0] = sent[0] != last[0], sent[0]
        return not moved and sent[0] > 0
    until("the download stands still", stands_still, pause_s=0.2)
    assert sent[0] < 64 << 20, "nothing holds the origin back"
    if before and shield.is_plain:
        assert shield.rss_bytes() - before < 16 << 20
    answer = client.response()
    assert answer.body == content * 96 and answer.end == "clean"
    thread.join()


def test_an_answer_before_the_end_of_the_content(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Content_Length="1000000") + b"begin")
    held = origin.expect("/up")
    held.read_body(5)
    held.send_head(403, {"Connection": "close"}, length=3).send(b"no!")
    answer = client.response()
    assert (answer.status, answer.body) == (403, b"no!")
    held.close()


def test_a_client_that_stops_within_its_content_ends_the_request(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Content_Length="10") + b"half")
    held = origin.expect("/up")
    held.read_body(4)
    client.reset()
    held.wait_closed()
