"""Ranges from hits, and from an object that is still arriving (RFC 9110 section 14)."""
import os
import random
import threading

import pytest

from scripted_origin import Reply, cacheable

BODY = bytes(range(256)) * 40
N = len(BODY)
ETAG = '"v1"'
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
FRESH = {"Cache-Control": "max-age=60", "ETag": ETAG}


def hit(lab):
    origin = lab.origin().on("/x", cacheable(BODY, ETag=ETAG, Last_Modified=MODIFIED, Content_Type="a/b"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    return origin, shield


def is_part(answer, first, last, total=N):
    assert answer.status == 206
    assert answer["Content-Range"] == f"bytes {first}-{last}/{total}"
    assert answer.body == BODY[first:last + 1] and answer.end == "clean"


@pytest.mark.parametrize("asked, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=0-99", 0, 99), ("bytes=100-199", 100, 199), ("bytes=10000-", 10000, N - 1),
    ("bytes=-1", N - 1, N - 1), ("bytes=-100", N - 100, N - 1), ("bytes=-99999999", 0, N - 1),
    ("bytes=0-99999999", 0, N - 1), (f"bytes={N - 1}-{N - 1}", N - 1, N - 1), ("bytes=0-", 0, N - 1),
    ("bytes=5-99999999999999999999", 5, N - 1), ("BYTES=1-2", 1, 2),
])
def test_a_part_of_a_hit(lab, asked, first, last):
    origin, shield = hit(lab)
    answer = lab.ask(shield, "/x", Range=asked)
    is_part(answer, first, last)
    assert answer["Content-Length"] == str(last - first + 1)
    assert answer["ETag"] == ETAG and answer["Content-Type"] == "a/b" and answer.cache["hit"]
    assert origin.count() == 1


@pytest.mark.parametrize("asked", [f"bytes={N}-", f"bytes={N}-{N + 10}", "bytes=99999999999999999999-", "bytes=-0"])
def test_not_satisfiable(lab, asked):
    origin, shield = hit(lab)
    client = lab.client(shield)
    answer = client.ask("/x", Range=asked)
    assert answer.status == 416 and answer["Content-Range"] == f"bytes */{N}"
    assert answer["Date"] and answer.fields.joined("Via") == "1.1 shield"  # RFC 9110 sections 6.6.1 and 7.6.3
    assert client.ask("/x").body == BODY
    assert origin.count() == 1


@pytest.mark.parametrize("asked", ["bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=", "bytes=-", "bytes 0-1", "bytes=0-0,2-x",
                                   "bytes=0 - 1", "bytes=0x1-2"])
def test_what_is_not_one_range_gets_the_whole(lab, asked):
    origin, shield = hit(lab)
    answer = lab.ask(shield, "/x", Range=asked)
    assert answer.status == 200 and answer.body == BODY and "Content-Range" not in answer.fields
    assert origin.count() == 1


@pytest.mark.parametrize("condition, matches", [
    (ETAG, True), ("W/" + ETAG, False), ('"other"', False), (MODIFIED, True), ("Tue, 02 Jan 2024 00:00:00 GMT", False),
    ("nonsense", False),
])
def test_if_range(lab, condition, matches):
    _, shield = hit(lab)
    answer = lab.ask(shield, "/x", Range="bytes=0-9", If_Range=condition)
    if matches:
        is_part(answer, 0, 9)
    else:
        assert answer.status == 200 and answer.body == BODY


@pytest.mark.parametrize("etag, fields", [
    ("W/" + ETAG, {}),  # a weak tag says nothing of bytes
    ("W/" + ETAG, {"ETag": ETAG}), (ETAG, {"ETag": "W/" + ETAG}),
    (MODIFIED, {"Last-Modified": None}), (MODIFIED, {"Date": MODIFIED}),  # no date, and one that is not strong
])
def test_if_range_without_a_strong_validator(lab, etag, fields):
    fields = {"ETag": "W/" + ETAG, "Last-Modified": MODIFIED, "Cache-Control": "max-age=9999999999", **fields}
    origin = lab.origin().on("/x", Reply(BODY, headers=[(n, v) for n, v in fields.items() if v is not None]))
    shield = lab.shield(origin)
    for _ in range(2):
        answer = lab.ask(shield, "/x", Range="bytes=0-9", If_Range=etag)
        assert answer.status == 200 and answer.body == BODY


def test_several_lines_of_it_get_the_whole(lab):
    _, shield = hit(lab)
    answer = lab.ask(shield, "/x", headers=[("Range", "bytes=0-9"), ("Range", "bytes=0-9")])
    assert answer.status == 200 and answer.body == BODY


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=100-", "bytes=0-1,3-4"])
def test_a_range_of_what_is_no_200(lab, asked):
    origin = lab.origin().on("/x", Reply(b"not here", 404, Cache_Control="max-age=60"))
    shield = lab.shield(origin)
    for _ in range(2):
        answer = lab.ask(shield, "/x", Range=asked)
        assert (answer.status, answer.body) == (404, b"not here") and "Content-Range" not in answer.fields
    assert origin.count() == 1


@pytest.mark.parametrize("asked", ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=0-0,-1"])
def test_a_range_of_nothing(lab, asked):
    """No Content-Range can say it (RFC 9110 section 14.4)."""
    origin = lab.origin().on("/x", cacheable(b""))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    answer = lab.ask(shield, "/x", Range=asked)
    assert answer.status == 416 and answer["Content-Range"] == "bytes */0"


def test_a_head_on_a_miss_takes_no_range_along(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", "HEAD", Range="bytes=0-9")
    held = origin.expect("/x", "HEAD")
    assert "Range" not in held
    held.respond(200, FRESH, BODY)
    answer = client.response()
    assert answer.status == 200 and answer["Content-Length"] == str(N)


def test_a_range_does_not_change_a_head(lab):
    _, shield = hit(lab)
    answer = lab.ask(shield, "/x", "HEAD", Range="bytes=0-9")
    assert answer.status == 200 and answer["Content-Length"] == str(N)


def test_a_range_on_a_miss_fetches_and_stores_the_whole(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", Range="bytes=100-199")
    held = origin.expect("/x")
    assert "Range" not in held
    held.respond(200, FRESH, BODY)
    is_part(client.response(), 100, 199)
    answer = lab.ask(shield, "/x")
    assert answer.body == BODY and answer.cache["hit"]
    assert origin.count() == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_are_served_while_the_object_arrives(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    asked = {"early": "bytes=100-199", "late": "bytes=9000-9999", "open": "bytes=5000-", "end": "bytes=-10",
             "beyond": f"bytes={N}-"}
    clients = {name: lab.client(shield).request("/x", Range=value) for name, value in asked.items()}
    shield.wait_metric("collapsed_requests_total", len(clients))
    held.send_head(200, FRESH, length=N).send(BODY[:200])
    is_part(clients["early"].response(), 100, 199)
    assert clients["beyond"].response().status == 416
    held.send(BODY[200:6000])
    answer = clients["open"].head()
    assert answer.status == 206 and answer["Content-Range"] == f"bytes 5000-{N - 1}/{N}"
    assert clients["open"].body(1000)[:1000] == BODY[5000:6000]
    assert clients["late"].begin().body == b""
    held.send(BODY[6000:]).finish()
    is_part(clients["late"].response(), 9000, 9999)
    is_part(clients["end"].response(), N - 10, N - 1)
    is_part(clients["open"].response(), 5000, N - 1)
    assert whole.response().body == BODY
    assert origin.count() == 1


def test_parts_of_an_unknown_length(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    early = lab.client(shield).request("/x", Range="bytes=100-199")
    opened = lab.client(shield).request("/x", Range="bytes=100-")
    suffix = lab.client(shield).request("/x", Range="bytes=-5")
    shield.wait_metric("collapsed_requests_total", 3)
    held.send_head(200, FRESH, chunked=True).chunk(BODY[:150])
    whole.body(150)
    held.chunk(BODY[150:300])
    is_part(early.response(), 100, 199, "*")
    held.chunk(BODY[300:]).last_chunk()
    for client in (whole, opened, suffix):
        answer = client.response()
        assert (answer.status, answer.body) == (200, BODY)
    is_part(lab.ask(shield, "/x", Range="bytes=100-199"), 100, 199)
    assert origin.count() == 1


def test_a_part_that_an_unknown_length_does_not_reach(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    over = lab.client(shield).request("/x", Range="bytes=100-199")
    beyond = lab.client(shield).request("/x", Range="bytes=1000-1999")
    shield.wait_metric("collapsed_requests_total", 2)
    held.send_head(200, FRESH, chunked=True).chunk(BODY[:150]).last_chunk()
    assert whole.response().body == BODY[:150]
    answer = over.response()
    assert answer.status == 206 and answer.body == BODY[100:150] and answer["Content-Range"] == "bytes 100-149/150"
    answer = beyond.response()
    assert answer.status == 416 and answer["Content-Range"] == "bytes */150"


@pytest.mark.parametrize("asked", ["bytes=1500000-", "bytes=1500000-1500009,1600000-1600009"])
def test_a_damaged_part_is_fetched_again_from_the_beginning(lab, tmp_path, asked):
    """Nothing is out when the chunk turns out to be damaged; and the new object of unknown length is sent whole, from its first byte."""
    body = random.Random(1).randbytes(3_000_000)
    origin = lab.origin().on("/x", cacheable(body, 3600))
    sets = {"store.ram": "2m", "store.size": "64m"}
    shield = lab.shield(origin, store=tmp_path, sets=sets)
    assert lab.ask(shield, "/x").body == body
    shield.wait_stored()
    assert shield.stop() == 0
    data = max((os.path.join(tmp_path, name) for name in os.listdir(tmp_path)), key=os.path.getsize)
    with open(data, "r+b") as f:
        at = f.read().index(body[1_500_000:1_500_032])
        f.seek(at)
        f.write(bytes(byte ^ 1 for byte in body[1_500_000:1_500_032]))
    shield = lab.shield(origin, store=tmp_path, sets=sets)
    origin.hold("/x")
    client = lab.client(shield).request("/x", Range=asked)
    held = origin.expect("/x")
    held.send_head(200, FRESH, chunked=True).chunk(body[:1000])
    assert client.body(1000)[:1000] == body[:1000]
    held.chunk(body[1000:]).last_chunk()
    answer = client.response()
    assert (answer.status, answer.body, answer.end) == (200, body, "clean")


def test_a_huge_object_is_never_fetched_for_a_part(lab):
    """What will not be kept is closed, and the waiters go with their own Range; the key is remembered."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"store.object_max": "4k"})
    client = lab.client(shield).request("/x", Range="bytes=100-199")
    held = origin.expect("/x")
    held.send_head(200, FRESH, length=N).send(BODY[:10])
    part = {**FRESH, "Content-Range": f"bytes 100-199/{N}"}
    for _ in range(2):
        own = origin.expect("/x")
        assert own.get("Range") == "bytes=100-199"
        own.respond(206, part, BODY[100:200])
        is_part(client.response(), 100, 199)
        if origin.count() == 2:
            client.request("/x", Range="bytes=100-199")
    held.wait_closed()
    assert origin.count() == 3


def test_a_part_of_what_may_not_be_stored(lab):
    """DESIGN section 4, ranges: an answer that will not be kept is closed at its head, and the part asked for alone."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", Range="bytes=100-199")
    held = origin.expect("/x")
    assert "Range" not in held
    held.send_head(200, {"Cache-Control": "no-store"}, length=N)
    own = origin.expect("/x")
    assert own.get("Range") == "bytes=100-199"
    own.respond(206, {"Cache-Control": "no-store", "Content-Range": f"bytes 100-199/{N}"}, BODY[100:200])
    is_part(client.response(), 100, 199)
    held.wait_closed()
    assert origin.count() == 2


@pytest.mark.parametrize("place", ["first", "joined"])
def test_a_part_of_what_turns_out_too_large(lab, place):
    """DESIGN section 4: a paced fetch waits for its readers, and one that waits for a later byte would wait for ever."""
    body = BODY * 300
    first, last = 2_000_000, 2_000_009
    origin = lab.origin()
    shield = lab.shield(origin, sets={"store.ram": "1m", "flight.window": "64k"})
    clients = [lab.client(shield).request("/x", **({} if place == "joined" else {"Range": f"bytes={first}-{last}"}))]
    held = origin.expect("/x")
    if place == "joined":
        clients.append(lab.client(shield).request("/x", Range=f"bytes={first}-{last}"))
        shield.wait_metric("collapsed_requests_total", 1)

    def feed():
        try:
            held.send_head(200, FRESH, chunked=True).chunk(body).last_chunk()
        except OSError:
            held.close()  # nobody wants it any more
    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    if place == "joined":
        assert clients[0].response().body == body
    own = origin.expect("/x")
    assert own.get("Range") == f"bytes={first}-{last}"
    own.respond(206, {**FRESH, "Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first:last + 1])
    answer = clients[-1].response()
    assert (answer.status, answer.body) == (206, body[first:last + 1])
    feeder.join()
    assert origin.count() == 2
