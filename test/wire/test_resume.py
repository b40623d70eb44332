"""A body that breaks off is gone on with: those who wait see one whole answer, or a cut, never anything between."""
import threading

import pytest

from http_text import request_bytes
from patience import until
from scripted_origin import Reply, cacheable

BODY = bytes((i * 7 + (i >> 8) * 3 + (i >> 16)) & 255 for i in range(300000))
N = len(BODY)
TAG = '"v1"'
FRESH = {"Cache-Control": "max-age=60", "ETag": TAG}
OLD, LATER = "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:01 GMT"
PART = {"ETag": TAG}


def begin(held, k, framing="length", fields=None):
    """The head of the whole, and its first k bytes."""
    held.send_head(200, FRESH if fields is None else fields, length=N if framing == "length" else None,
                   chunked=framing == "chunked")
    if k > 0:
        held.chunk(BODY[:k]) if framing == "chunked" else held.send(BODY[:k])
    return held


def cut(held, how):
    if how != "silence":
        getattr(held, how)()


def expect_rest(origin, target, k, validator=TAG):
    """The request for what is missing from byte k on, and nothing else that the first did not have."""
    rest = origin.expect(target)
    assert rest.get("Range") == f"bytes={k}-" and rest.get("If-Range") == validator
    first = origin.requests(target)[0]
    seam = ("range", "if-range", "if-none-match", "if-modified-since")
    assert [line for line in rest.raw.split(b"\r\n") if line.split(b":")[0].decode().lower() not in seam] == \
        [line for line in first.raw.split(b"\r\n") if line.split(b":")[0].decode().lower() not in seam]
    return rest


def send_part(rest, k, end=N, fields=None, total=N):
    """An honest 206 with the bytes [k, end)."""
    pairs = dict(PART if fields is None else fields, **{"Content-Range": f"bytes {k}-{end - 1}/{total}"})
    return rest.send_head(206, pairs, length=end - k).send(BODY[k:end])


def mended(shield):
    return shield.metric("resumes_total", outcome="mended")


BREAKS = [("length", "close"), ("length", "reset"), ("length", "silence"), ("chunked", "close"), ("chunked", "reset"),
          ("close", "reset")]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("framing, how", BREAKS)
def test_everyone_sees_one_whole_body(lab, framing, how, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"origins.default.body_timeout": "1s"} if how == "silence" else {})
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    old = lab.crowd(shield, 3).send(request_bytes("/x", version="1.0"))
    shield.wait_metric("collapsed_requests_total", 22)
    begin(held, 100000, framing)
    crowd.body(100000)
    old.body(100000)
    cut(held, how)
    rest = expect_rest(origin, "/x", 100000)
    assert [f["state"] for f in shield.flights()] == ["resume"]
    send_part(rest, 100000).finish()
    for answer in crowd.responses() + old.responses():
        assert (answer.status, answer.end) == (200, "clean") and answer.body == BODY
        assert "Content-Range" not in answer.fields and "detail" not in answer.cache
    assert mended(shield) == 1 and shield.metric("resumes_total", outcome="failed") == 0
    assert shield.metric("origin_requests_total", kind="resume") == 1
    assert shield.metric("flights_started_total") == 1
    shield.wait_metric("waiter_fates_total", 23, fate="served")
    shield.wait_log(r"/x: broke off at byte 100000: ")
    answer = lab.ask(shield, "/x")
    assert answer.body == BODY and answer.cache["hit"] and "detail" not in answer.cache
    assert origin.count() == 2


@pytest.mark.parametrize("framing, how", BREAKS)
@pytest.mark.parametrize("k", [0, 1, 65520, N - 1])
def test_at_any_byte(lab, framing, how, k):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.body_timeout": "1s"} if how == "silence" else {})
    crowd = lab.crowd(shield, 3).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 2)
    begin(held, k, framing)
    crowd.until("at the seam", lambda a: a.has_head and len(a.body) >= k)
    cut(held, how)
    send_part(expect_rest(origin, "/x", k), k).finish()
    for answer in crowd.responses():
        assert answer.end == "clean" and answer.body == BODY
    assert lab.ask(shield, "/x").cache["hit"]


def test_broken_framing_is_not_gone_on_with(lab):
    """Who knows which of the bytes before it were the body's."""
    origin = lab.origin()
    shield = lab.shield(origin)
    crowd = lab.crowd(shield, 5).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 4)
    begin(held, 1000, "chunked")
    crowd.body(1000)
    held.send(b"zz\r\n").finish()
    assert all(a.is_cut and a.body == BODY[:1000] for a in crowd.responses())
    shield.wait_metric("flights", 0)
    assert origin.count() == 1 and shield.metric("origin_requests_total", kind="resume") == 0


def test_a_rest_in_chunks_behind_interim_answers(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    begin(origin.expect("/x"), 1000, "chunked").close()
    rest = expect_rest(origin, "/x", 1000)
    rest.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
    rest.send_head(206, dict(PART, **{"Content-Range": f"bytes 1000-{N - 1}/{N}"}), chunked=True)
    rest.chunk(BODY[1000:]).last_chunk()
    answer = client.response()
    assert answer.end == "clean" and answer.body == BODY and not answer.interim


def test_by_date_where_there_is_no_tag(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    dates = {"Last-Modified": OLD, "Date": LATER}
    client = lab.client(shield).request("/x")
    begin(origin.expect("/x"), 1000, fields=dict(dates, **{"Cache-Control": "max-age=999999999"})).reset()
    send_part(expect_rest(origin, "/x", 1000, OLD), 1000, fields=dates).finish()
    assert client.response().body == BODY
    assert lab.ask(shield, "/x").cache["hit"]


@pytest.mark.parametrize("fields", [
    {}, {"ETag": "W/" + TAG}, {"Last-Modified": OLD, "Date": OLD}, {"ETag": "W/" + TAG, "Last-Modified": OLD, "Date": LATER},
    {"ETag": "v1"},
], ids=["none", "weak tag", "weak date", "weak tag and date", "no tag"])
def test_without_a_strong_validator_they_are_cut(lab, fields):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    begin(origin.expect("/x"), 1000, fields=dict(fields, **{"Cache-Control": "max-age=999999999"}))
    client.body(1000)
    origin.requests("/x")[0].close()
    assert client.response().is_cut
    shield.wait_metric("flights", 0)
    assert origin.count() == 1 and shield.metric("resumes_total") == 0


RANGE = {"Content-Range": f"bytes 1000-{N - 1}/{N}"}
LIES = {
    "a 200": (200, PART, BODY), "a 200 with a range": (200, {**PART, **RANGE}, BODY[1000:]),
    "416": (416, {**PART, "Content-Range": f"bytes */{N}"}, b""),
    "416 at the break": (416, {**PART, "Content-Range": "bytes */1000"}, b""),
    "503": (503, {}, b"busy"), "404": (404, {}, b""), "304": (304, PART, b""),
    "another tag": (206, {"ETag": '"v2"', **RANGE}, BODY[1000:]),
    "a weak tag": (206, {"ETag": "W/" + TAG, **RANGE}, BODY[1000:]),
    "no tag": (206, RANGE, BODY[1000:]),
    "no range": (206, PART, BODY[1000:]),
    "an earlier range": (206, {**PART, "Content-Range": f"bytes 999-{N - 1}/{N}"}, BODY[999:]),
    "a later range": (206, {**PART, "Content-Range": f"bytes 1001-{N - 1}/{N}"}, BODY[1001:]),
    "another length": (206, {**PART, "Content-Range": f"bytes 1000-{N}/{N + 1}"}, BODY[1000:] + b"x"),
    "less than its range": (206, {**PART, **RANGE}, BODY[1000:-1]),
    "more than its range": (206, {**PART, **RANGE}, BODY[1000:] + b"x"),
    "another coding": (206, {**PART, **RANGE, "Content-Encoding": "gzip"}, BODY[1000:]),
    "many parts": (206, {**PART, "Content-Type": "multipart/byteranges; boundary=b"}, b"--b\r\n"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_cuts_everyone_and_nothing_is_stored(lab, lie):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    part = lab.client(shield).request("/x", Range="bytes=2000-2999")
    old = lab.crowd(shield, 2).send(request_bytes("/x", version="1.0"))
    shield.wait_metric("collapsed_requests_total", 22)
    begin(held, 1000)
    crowd.body(1000)
    old.body(1000)
    held.reset()
    rest = expect_rest(origin, "/x", 1000)
    status, fields, body = LIES[lie]
    rest.send_head(status, fields, length=None if status == 304 else len(body)).send(body)
    for answer in crowd.responses() + old.responses():
        assert answer.is_cut and answer.body == BODY[:1000]
    answer = part.response()
    assert answer.is_cut or answer.status == 502
    rest.wait_closed()
    shield.wait_metric("flights", 0)
    assert mended(shield) == 0 and shield.metric("resumes_total", outcome="failed") == 1
    origin.on("/x", cacheable("whole"))
    answer = lab.ask(shield, "/x")
    assert answer.body == b"whole" and "hit" not in answer.cache


def test_an_unknown_length_stays_what_the_first_part_says(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    begin(origin.expect("/x"), 1000, "chunked").close()
    send_part(expect_rest(origin, "/x", 1000), 1000, 2000).finish()
    rest = expect_rest(origin, "/x", 2000)
    rest.send_head(206, {**PART, "Content-Range": f"bytes 2000-{N}/{N + 1}"}, length=N + 1 - 2000)
    answer = client.response()
    assert answer.is_cut and answer.body == BODY[:2000]
    rest.wait_closed()


@pytest.mark.parametrize("again", ["cut", "short", "no head"])
@pytest.mark.parametrize("third", [False, True], ids=["whole", "cut"])
def test_two_tries(lab, again, third):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    begin(held, 1000)
    crowd.body(1000)
    held.reset()
    rest = expect_rest(origin, "/x", 1000)
    k = 1000 if again == "no head" else 5000
    if again == "short":
        send_part(rest, 1000, 5000).finish()
    elif again == "cut":
        rest.send_head(206, {**PART, **RANGE}, length=N - 1000).send(BODY[1000:5000])
        crowd.body(5000)
        rest.close()
    else:
        rest.close()
    rest = expect_rest(origin, "/x", k)
    rest.send_head(206, {**PART, "Content-Range": f"bytes {k}-{N - 1}/{N}"}, length=N - k).send(BODY[k:-1])
    crowd.body(N - 1)
    if third:
        rest.close()
    else:
        rest.send(BODY[-1:]).finish()
    for answer in crowd.responses():
        assert answer.is_cut if third else answer.body == BODY
    shield.wait_metric("resumes_total", 1, outcome="failed" if third else "mended")
    assert origin.count() == 3


def test_the_next_server_first(lab):
    one, two = lab.origin(), lab.origin()
    shield = lab.shield(one, two)
    client = lab.client(shield).request("/x")
    until("one of them is asked", lambda: one.count() + two.count() == 1)
    first, second = (one, two) if one.count() else (two, one)
    begin(first.expect("/x"), 1000).reset()
    rest = second.expect("/x")
    assert rest.get("Range") == "bytes=1000-"
    send_part(rest, 1000).finish()
    assert client.response().body == BODY


def test_a_server_that_is_gone_leaves_the_other(lab):
    one, two = lab.origin(), lab.origin()
    shield = lab.shield(one, two)
    client = lab.client(shield).request("/x")
    until("one of them is asked", lambda: one.count() + two.count() == 1)
    first, second = (one, two) if one.count() else (two, one)
    begin(first.expect("/x"), 1000)
    client.body(1000)
    first.close()
    send_part(second.expect("/x"), 1000).finish()
    assert client.response().body == BODY


def test_a_hang_at_the_seam_is_bounded(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.head_timeout": "1s"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    begin(held, 1000)
    client.body(1000)
    held.reset()
    rest = expect_rest(origin, "/x", 1000)
    assert client.response().is_cut
    rest.wait_closed()
    shield.wait_metric("flights", 0)
    assert origin.count() == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stampede_of_which_some_leave_at_the_seam(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    first = lab.client(shield).request("/x")
    held = origin.expect("/x")
    stay, leave = lab.crowd(shield, 150).get("/x"), lab.crowd(shield, 50).get("/x")
    parts = lab.crowd(shield, 20).send(lambda i: request_bytes("/x", Range=f"bytes={i * 10000}-{i * 10000 + 19999}"))
    shield.wait_metric("collapsed_requests_total", 220)
    begin(held, 100000)
    stay.body(100000)
    leave.body(100000)
    first.body(100000)
    held.reset()
    rest = expect_rest(origin, "/x", 100000)
    leave.reset()
    first.reset()  # the one for whom it was begun as well
    late = lab.crowd(shield, 30).get("/x")
    shield.wait_metric("collapsed_requests_total", 250)
    shield.wait_metric("waiter_fates_total", 51, fate="gone")
    assert origin.count() == 2
    send_part(rest, 100000).finish()
    for answer in stay.responses() + late.responses():
        assert (answer.status, answer.end) == (200, "clean") and answer.body == BODY
    for i, answer in enumerate(parts.responses()):
        assert answer.status == 206 and answer.end == "clean" and answer.body == BODY[i * 10000:i * 10000 + 20000]
    assert mended(shield) == 1 and origin.count() == 2


def test_who_comes_behind_the_seam_is_told(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    first = lab.client(shield).request("/x")
    begin(origin.expect("/x"), 1000, "chunked")
    first.body(1000)
    waits = lab.client(shield).request("/x", Range="bytes=4000-4999")  # of unknown length: its head waits for byte 4999
    shield.wait_metric("collapsed_requests_total", 1)
    origin.requests("/x")[0].close()
    rest = expect_rest(origin, "/x", 1000)
    rest.send_head(206, {**PART, **RANGE}, length=N - 1000).send(BODY[1000:3000])
    first.body(3000)
    late = lab.client(shield).request("/x")
    assert late.head().cache["detail"] == "resumed"
    rest.send(BODY[3000:]).finish()
    answer = waits.response()
    assert answer.status == 206 and answer.body == BODY[4000:5000] and answer.cache["detail"] == "resumed"
    assert late.response().body == BODY
    answer = first.response()
    assert answer.body == BODY and "detail" not in answer.cache


def test_when_nobody_waits_nothing_is_asked(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.finish": "never"})
    crowd = lab.crowd(shield, 5).get("/x")
    held = origin.expect("/x")
    begin(held, 1000)
    crowd.body(1000)
    held.reset()
    rest = expect_rest(origin, "/x", 1000)
    crowd.reset()
    rest.wait_closed()
    shield.wait_metric("flights", 0)
    assert origin.count() == 2 and shield.metric("resumes_total") == 0


def test_worth_finishing_for_nobody(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    begin(held, 1000)
    client.body(1000)
    client.reset()
    shield.wait_metric("waiters", 0)
    held.close()
    send_part(expect_rest(origin, "/x", 1000), 1000).finish()
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/x").cache["hit"]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_what_is_on_disk_is_whole(lab, how, tmp_path):
    body = BODY * 20
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store", sets={"store.ram": "16m", "store.object_max": "100m"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    held.send_head(200, FRESH, length=len(body)).send(body[:2500000])
    client.body(2500000)
    held.reset()
    rest = expect_rest(origin, "/x", 2500000)
    rest.send_head(206, {**PART, "Content-Range": f"bytes 2500000-{len(body) - 1}/{len(body)}"},
                   length=len(body) - 2500000).send(body[2500000:]).finish()
    assert client.response().body == body
    shield.wait_stored()
    shield.stop() if how == "SIGTERM" else shield.kill()
    again = lab.shield(origin, store=tmp_path / "store")
    answer = lab.ask(again, "/x")
    assert answer.body == body and answer.cache["hit"]
    assert origin.count() == 2


@pytest.mark.parametrize("lie", ["another tag", "a 200"])
def test_nothing_partial_is_on_disk(lab, lie, tmp_path):
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store")
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    begin(held, 200000)
    client.body(200000)
    held.reset()
    rest = expect_rest(origin, "/x", 200000)
    tag = '"v2"' if lie == "another tag" else TAG
    rest.send_head(206 if lie == "another tag" else 200, {"ETag": tag, "Content-Range": f"bytes 200000-{N - 1}/{N}"},
                   length=N - 200000).send(BODY[200000:])
    assert client.response().is_cut
    shield.wait_metric("flights", 0)
    shield.wait_stored()
    shield.stop()
    again = lab.shield(origin, store=tmp_path / "store")
    origin.on("/x", cacheable("whole"))
    answer = lab.ask(again, "/x")
    assert answer.body == b"whole" and "hit" not in answer.cache


@pytest.mark.parametrize("workers", [1, 2])
def test_the_pace_goes_on_over_the_seam(lab, workers):
    """Nobody keeps it, and a client stands still: what comes behind the seam waits for him as well."""
    size = 24 << 20
    body = (BODY * (size // N + 1))[:size]
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={
        "store.object_max": "1m", "flight.window": "1m", "client.min_rate": "1k"})
    slow, fast = lab.client(shield).request("/x"), lab.crowd(shield, 5).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 5)
    held.send_head(200, FRESH, length=size).send(body[:500000])
    slow.head()
    fast.body(500000)
    held.reset()
    rest = expect_rest(origin, "/x", 500000)
    rest.send_head(206, {**PART, "Content-Range": f"bytes 500000-{size - 1}/{size}"}, length=size - 500000)
    sender = threading.Thread(target=lambda: rest.send(body[500000:]).finish(), daemon=True)
    sender.start()
    shield.wait_metric("limit_reached_total", lambda n: n >= 1, limit="flight.window")
    assert not any(a.done for a in fast.answers)
    reader = threading.Thread(target=slow.response, daemon=True)
    reader.start()
    for answer in fast.responses():
        assert answer.end == "clean" and answer.body == body
    reader.join()
    sender.join()
    assert mended(shield) == 1


@pytest.mark.parametrize("what", ["private", "Authorization", "released"])
def test_one_clients_own_fetch_is_mended_too(lab, what):
    origin = lab.origin()
    shield = lab.shield(origin)
    fields = dict(FRESH) if what == "Authorization" else {"Cache-Control": "private", "ETag": TAG}
    if what == "released":
        origin.on("/x", cacheable("x", Set_Cookie="a=b"))
        lab.ask(shield, "/x")
        origin.hold("/x")
    asked = origin.count()
    client = lab.client(shield).request("/x", **({"Authorization": "me"} if what == "Authorization" else {}))
    held = origin.expect("/x")
    begin(held, 1000, fields=fields)
    client.body(1000)
    held.reset()
    rest = origin.expect("/x")
    assert rest.get("Range") == "bytes=1000-" and rest.get("If-Range") == TAG
    assert rest.get("Authorization") == held.get("Authorization")
    send_part(rest, 1000).finish()
    answer = client.response()
    assert answer.body == BODY and answer.end == "clean"
    assert origin.count() == asked + 2


@pytest.mark.parametrize("condition", [{"Range": "bytes=0-299998"}, {"If_None_Match": '"other"'}, {"If_Match": TAG}])
def test_what_the_client_asked_with_conditions_of_its_own_is_cut(lab, condition):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", Authorization="me", **condition)
    held = origin.expect("/x")
    if "Range" in condition:
        held.send_head(206, {**PART, "Content-Range": f"bytes 0-{N - 2}/{N}"}, length=N - 1).send(BODY[:1000])
    else:
        begin(held, 1000)
    client.body(1000)
    held.reset()
    assert client.response().is_cut
    assert origin.count() == 1


def test_a_validation_that_brings_another_body(lab):
    """What was stored is stale; the origin has a new one, which breaks off: the rest is of the new one."""
    origin = lab.origin().on("/x", Reply("old", ETag='"v0"', Cache_Control="max-age=1", Age="5"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    origin.hold("/x")
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert held.get("If-None-Match") == '"v0"'
    begin(held, 1000)
    client.body(1000)
    held.reset()
    send_part(expect_rest(origin, "/x", 1000), 1000).finish()
    assert client.response().body == BODY
    assert lab.ask(shield, "/x").cache["hit"]


def test_the_origins_limit_counts_it(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": "1"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    begin(held, 1000)
    client.body(1000)
    other = lab.client(shield).request("/y")
    shield.wait_metric("origin_queue_depth", 1)
    held.reset()
    between = origin.expect("/y")
    shield.wait_metric("origin_queue_depth", 1)
    assert origin.count() == 2
    between.respond(200, FRESH, b"y")
    assert other.response().body == b"y"
    send_part(expect_rest(origin, "/x", 1000), 1000).finish()
    assert client.response().body == BODY
