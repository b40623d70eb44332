"""Several ranges in one request: multipart/byteranges (RFC 9110 sections 14.6 and 15.3.7.2), within http.max_ranges."""
import random
import re
import signal
import time

import pytest

from http_text import request_bytes
from patience import LIFE_S, outlive
from scripted_origin import Reply, cacheable

N = 10240
BIG = 3_000_000
BODY = random.Random(1).randbytes(BIG)  # no run of it is at two places
SMALL = BODY[:N]
ETAG = '"v1"'
TYPE = "text/x-test; a=b"
FRESH = {"Cache-Control": "max-age=60", "ETag": ETAG, "Content-Type": TYPE}


def hit(lab, sets=None, body=SMALL, **fields):
    origin = lab.origin().on("/x", cacheable(body, **{"ETag": ETAG, "Content_Type": TYPE, **fields}))
    shield = lab.shield(origin, sets=sets)
    lab.ask(shield, "/x")
    return origin, shield


def asking(ranges):
    return "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)


def is_multipart(answer, ranges, body=SMALL, content_type=TYPE):
    """Exactly these parts in this order, and not one byte more."""
    assert answer.status == 206 and answer.end == "clean", answer
    found = re.fullmatch("multipart/byteranges; boundary=([0-9a-f]{32})", answer["Content-Type"])
    assert found and "Content-Range" not in answer.fields
    boundary = found.group(1)
    wanted = b""
    for first, last in ranges:
        wanted += f"\r\n--{boundary}\r\n".encode()
        if content_type:
            wanted += f"Content-Type: {content_type}\r\n".encode()
        wanted += f"Content-Range: bytes {first}-{last}/{len(body)}\r\n\r\n".encode() + body[first:last + 1]
    wanted = wanted[2:] + f"\r\n--{boundary}--\r\n".encode()
    assert answer["Content-Length"] == str(len(wanted))
    assert answer.body == wanted
    return boundary


def is_whole(answer, body=SMALL):
    assert (answer.status, answer.body, answer.end) == (200, body, "clean")
    assert answer["Content-Type"] == TYPE and "Content-Range" not in answer.fields


@pytest.mark.parametrize("asked, ranges", [
    ("0-0,-1", [(0, 0), (N - 1, N - 1)]),
    ("0-99,200-299,400-", [(0, 99), (200, 299), (400, N - 1)]),
    ("5000-5999, 0-9 ,\t100-109", [(5000, 5999), (0, 9), (100, 109)]),  # in the order asked for
    ("-5,0-4", [(N - 5, N - 1), (0, 4)]),
    (f"0-9,{N}-,20-29,99999999999999999999-,-0", [(0, 9), (20, 29)]),  # what is not satisfiable is left out
    ("0-9,20-99999999999999999999", [(0, 9), (20, N - 1)]),
    ("0-9,11-19", [(0, 9), (11, 19)]),
    ("0-9,10-19,30-39", [(0, 19), (30, 39)]),  # touching
    ("0-9,30-39,5-19", [(0, 19), (30, 39)]),  # overlapping: in the place of the first
    ("30-39,0-9,15-35,50-59", [(15, 39), (0, 9), (50, 59)]),
    ("0-9,20-29,40-49,60-69,8-62,80-89", [(0, 69), (80, 89)]),  # one that brings many together
    ("0-9,0-9,20-20,0-9", [(0, 9), (20, 20)]),
    (",".join(f"{i * 3}-{i * 3}" for i in range(16)), [(i * 3, i * 3) for i in range(16)]),  # as many as are allowed
])
def test_parts_of_a_hit(lab, asked, ranges):
    origin, shield = hit(lab)
    client = lab.client(shield)
    boundaries = set()
    for _ in range(2):  # on one connection: nothing is behind the end
        answer = client.ask("/x", Range="bytes=" + asked)
        boundaries.add(is_multipart(answer, ranges))
        assert answer["ETag"] == ETAG and answer.cache["hit"] and answer["Age"]
    assert len(boundaries) == 2
    is_whole(client.ask("/x"))
    assert origin.count() == 1


@pytest.mark.parametrize("asked, first, last", [
    (f"0-9,{N}-", 0, 9), ("-0,5-6", 5, 6), ("0-9,10-19", 0, 19), ("10-19,0-12", 0, 19), ("0-,5-9", 0, N - 1),
    (",".join(["0-"] * 16), 0, N - 1), (",5-6,", 5, 6),
])
def test_one_that_is_left_is_a_plain_part(lab, asked, first, last):
    _, shield = hit(lab)
    answer = lab.ask(shield, "/x", Range="bytes=" + asked)
    assert answer.status == 206 and answer["Content-Range"] == f"bytes {first}-{last}/{N}"
    assert answer["Content-Type"] == TYPE and answer.body == SMALL[first:last + 1]


def test_none_is_satisfiable(lab):
    _, shield = hit(lab)
    answer = lab.ask(shield, "/x", Range=f"bytes={N}-,{N + 5}-{N + 6},-0")
    assert answer.status == 416 and answer["Content-Range"] == f"bytes */{N}" and answer.body == b""


@pytest.mark.parametrize("bound, allowed", [(None, 16), (3, 3), (1, 1), (0, 1), (256, 256)])
def test_beyond_the_bound_the_whole(lab, bound, allowed):
    _, shield = hit(lab, sets={} if bound is None else {"http.max_ranges": bound})
    client = lab.client(shield)
    ranges = [(i * 30, i * 30 + 9) for i in range(allowed)]
    answer = client.ask("/x", Range=asking(ranges))
    if allowed > 1:
        is_multipart(answer, ranges)
    else:
        assert answer.status == 206 and answer.body == SMALL[:10]
    assert shield.metric("limit_reached_total", limit="http.max_ranges") == 0
    is_whole(client.ask("/x", Range=asking(ranges + [(allowed * 30, allowed * 30)])))
    is_whole(client.ask("/x", Range="bytes=" + "0-," * 5000))
    shield.wait_metric("limit_reached_total", 2, limit="http.max_ranges")


@pytest.mark.parametrize("condition, matches", [
    (ETAG, True), ("W/" + ETAG, False), ('"other"', False), ("Tue, 02 Jan 2024 00:00:00 GMT", False),
])
def test_if_range(lab, condition, matches):
    _, shield = hit(lab)
    answer = lab.ask(shield, "/x", Range="bytes=0-9,20-29", If_Range=condition)
    if matches:
        is_multipart(answer, [(0, 9), (20, 29)])
    else:
        is_whole(answer)


def test_what_gets_the_whole_or_less(lab):
    """A HEAD, several Range lines, one bad range among good ones; and a condition goes before a range."""
    _, shield = hit(lab)
    client = lab.client(shield)
    answer = client.ask("/x", "HEAD", Range="bytes=0-9,20-29")
    assert answer.status == 200 and answer["Content-Length"] == str(N) and answer["Content-Type"] == TYPE
    is_whole(client.ask("/x", headers=[("Range", "bytes=0-9"), ("Range", "bytes=20-29")]))
    is_whole(client.ask("/x", Range="bytes=0-9,29-20"))
    is_whole(client.ask("/x", Range="bytes=0-9,x"))
    is_whole(client.ask("/x", Range="lines=0-9,20-29"))
    assert client.ask("/x", Range="bytes=0-9,20-29", If_None_Match=ETAG).status == 304


def test_without_a_content_type(lab):
    origin = lab.origin().on("/x", cacheable(SMALL))
    shield = lab.shield(origin)
    for _ in range(2):
        is_multipart(lab.ask(shield, "/x", Range="bytes=0-9,20-29"), [(0, 9), (20, 29)], content_type=None)


def test_what_is_encoded_comes_whole(lab):
    """The encoding is the whole content's: nobody could tell what it says of the parts."""
    _, shield = hit(lab, Content_Encoding="gzip")
    client = lab.client(shield)
    is_whole(client.ask("/x", Range="bytes=0-9,20-29", Accept_Encoding="gzip"))
    assert client.ask("/x", Range="bytes=0-9", Accept_Encoding="gzip").body == SMALL[:10]


def test_parts_of_what_is_stale(lab):
    origin = lab.origin().on("/x", cacheable(SMALL, LIFE_S, ETag=ETAG, Content_Type=TYPE))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.close()
    outlive(stored_at)
    answer = lab.ask(shield, "/x", Range="bytes=100-199,0-9")
    is_multipart(answer, [(100, 199), (0, 9)])
    assert answer["Cache-Control"] == "max-age=0" and answer.cache["ttl"] < 0


# while it arrives

@pytest.mark.parametrize("workers", [1, 2])
def test_parts_while_the_object_arrives(lab, workers):
    """In the order asked for, each byte as soon as it and all before it in the answer are there."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    asked = {"up": [(0, 99), (200, 299), (9000, N - 1)], "down": [(9000, 9999), (300, 5999), (0, 9)]}
    clients = {name: lab.client(shield).request("/x", Range=asking(ranges)) for name, ranges in asked.items()}
    beyond = lab.client(shield).request("/x", Range=f"bytes={N}-,{N + 2}-")
    left = lab.client(shield).request("/x", Range=f"bytes=50-59,{N + 2}-")
    shield.wait_metric("collapsed_requests_total", 4)
    held.send_head(200, FRESH, length=N).send(SMALL[:150])
    assert beyond.response().status == 416
    assert left.response().body == SMALL[50:60]
    assert SMALL[:100] in clients["up"].body(100 + 100)
    assert clients["down"].head().status == 206
    held.send(SMALL[150:9500])
    assert SMALL[9000:9500] in clients["down"].body(500 + 100)
    held.send(SMALL[9500:]).finish()
    for name, ranges in asked.items():
        is_multipart(clients[name].response(), ranges)
    is_whole(whole.response())
    assert origin.count() == 1


def test_of_unknown_length_the_whole(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", Range="bytes=0-9,20-29")
    held = origin.expect("/x")
    assert "Range" not in held
    held.send_head(200, FRESH, chunked=True).chunk(SMALL[:100])
    assert client.body(100) == SMALL[:100]
    held.chunk(SMALL[100:]).last_chunk()
    is_whole(client.response())
    is_multipart(lab.ask(shield, "/x", Range="bytes=0-9,20-29"), [(0, 9), (20, 29)])


def test_an_object_that_breaks_off(lab):
    """Before the head an error, behind it a cut: in a part, or between two."""
    origin = lab.origin()
    shield = lab.shield(origin)
    clients = [lab.client(shield).request("/x", Range=asking(ranges))
               for ranges in ([(0, 9), (2000, 2999)], [(2500, 2599), (900, 1099)])]
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send_head(200, {"Cache-Control": "max-age=60"}, length=N).send(SMALL[:1000])  # nothing to go on with
    assert [c.head().status for c in clients] == [206, 206]
    held.reset()
    assert all(c.response().is_cut for c in clients)


# from disk

def big(lab, tmp_path, sets=None, **kw):
    """A big object of which no chunk is in memory."""
    origin = lab.origin().on("/x", cacheable(BODY, 3600, ETag=ETAG, Content_Type=TYPE))
    shield = lab.shield(origin, store=tmp_path, sets=sets, **kw)
    assert lab.ask(shield, "/x").body == BODY
    shield.wait_stored()
    shield.stop()
    return origin, lab.shield(origin, store=tmp_path, sets=sets, **kw)


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_from_disk(lab, tmp_path, workers):
    """Over the ends of chunks, forwards and backwards, pipelined."""
    origin, shield = big(lab, tmp_path, sets={"store.ram": "1m"}, workers=workers)
    chance = random.Random(2)
    sets = [[(2_900_000, 2_999_999), (65_519, 65_520), (1_000_000, 2_000_000), (0, 0)]]
    for _ in range(20):
        ends = sorted(chance.sample(range(0, BIG, 2), 12))
        ranges = list(zip(ends[::2], [end - 1 for end in ends[1::2]]))
        chance.shuffle(ranges)
        sets.append(ranges)
    client = lab.client(shield)
    client.send(b"".join(request_bytes("/x", Range=asking(ranges)) for ranges in sets), ["GET"] * len(sets))
    for ranges in sets:
        is_multipart(client.response(), ranges, BODY)
    assert origin.count() == 1


# what nobody keeps

def reload_with(shield, path, text):
    mark = shield.log_mark()
    path.write_text(text)
    shield.send_signal(signal.SIGHUP)
    shield.wait_log("(?i)reload", since=mark)


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_given_up_on_the_way(lab, tmp_path, begun):
    """Parts that go backwards hold back a fetch that only its readers keep: it would wait for them, and they for it. Parts that
    are not begun are put in order; in the middle of a later one there is nothing left to do but to cut."""
    origin = lab.origin()
    path = tmp_path / "shield.yaml"
    text = f"origins: {{ default: {{ servers: ['{origin.url}'] }} }}\nflight: {{ window: 64k }}\n"
    path.write_text(text)
    shield = lab.shield(args=["-c", path])
    at = 100_000 if begun else 2_000_000
    client = lab.client(shield).request("/x", Range=asking([(at, 2_999_999), (0, 9)]))
    held = origin.expect("/x")
    held.send_head(200, FRESH, length=BIG).send(BODY[:200_000])
    assert client.head().status == 206
    if begun:
        assert BODY[at:200_000] in client.body(100_000 + 80)
    reload_with(shield, path, text + "store: { object_max: 64k }\n")
    try:
        held.send(BODY[200_000:])
        held.finish()
    except OSError:
        held.close()  # nobody wants it any more
    answer = client.response()
    if begun:
        assert answer.is_cut
    else:
        is_multipart(answer, [(0, 9), (at, 2_999_999)], BODY)


def test_parts_of_what_will_not_be_kept_are_asked_for_alone(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"store.object_max": "4k"})
    client = lab.client(shield).request("/x", Range="bytes=20-29,0-9")
    held = origin.expect("/x")
    assert "Range" not in held
    held.send_head(200, FRESH, length=N)
    own = origin.expect("/x")
    assert own.get("Range") == "bytes=20-29,0-9"
    parts = b"--b\r\nContent-Range: bytes 20-29/10240\r\n\r\n" + SMALL[20:30] + b"\r\n--b--\r\n"
    own.respond(206, {"Content-Type": "multipart/byteranges; boundary=b"}, parts)
    answer = client.response()
    assert (answer.status, answer.body) == (206, parts)
    held.wait_closed()


def test_parts_of_an_own_answer_that_is_not_kept(lab):
    """A validation of one client's own that brings something new and private: its ranges are held against it here, and the
    fetch, of which a sixteenth of the window may be in the air, must not wait for the later bytes of an earlier part."""
    origin = lab.origin().on("/x", Reply(SMALL, Cache_Control="no-cache", ETag=ETAG, Content_Type=TYPE))
    shield = lab.shield(origin, sets={"flight.window": "1m"})
    lab.ask(shield, "/x")
    origin.hold("/x")
    first = lab.client(shield).request("/x")
    shared = origin.expect("/x")
    client = lab.client(shield).request("/x", Range="bytes=2000000-2500000,50000-900000,7-8")
    shield.wait_metric("collapsed_requests_total", 1)
    shared.respond(304, {"Cache-Control": "no-cache", "ETag": ETAG})
    assert first.response().body == SMALL
    new = {"Cache-Control": "private", "ETag": '"v2"', "Content-Type": TYPE}
    own = origin.expect("/x")
    assert own.get("If-None-Match") == ETAG and "Range" not in own
    own.send_head(200, new, length=BIG)
    try:
        own.send(BODY)
        own.finish()
    except OSError:
        own.close()  # the last part has been had
    is_multipart(client.response(), [(7, 8), (50_000, 900_000), (2_000_000, 2_500_000)], BODY)
