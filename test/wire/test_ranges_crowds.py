"""Many with ranges at once: those who join, who are slow, who leave in the middle of a part, who ask ahead."""
import random
import socket

import pytest

from http_text import request_bytes
from raw_client import Client
from scripted_origin import cacheable
from test_ranges_several import ETAG, FRESH, TYPE, asking, is_multipart

LENGTH = 8 * 1024 * 1024
BODY = random.Random(1).randbytes(LENGTH)
PIECES = [0, 1, 65_520, 65_521, 1_000_000, 5_000_000, LENGTH - 1, LENGTH]  # what has arrived when


def some_ranges(chance, n, longest=5000):
    """n ranges in any order of which no two touch."""
    firsts = chance.sample(range(0, LENGTH - longest, longest + 1), n)
    return [(first, first + chance.randrange(longest)) for first in firsts]


def ask_for(ranges):
    return request_bytes("/x", Range=asking(ranges))


def is_what_was_asked(answer, ranges):
    if len(ranges) > 1:
        is_multipart(answer, ranges, BODY)
        return
    (first, last), = ranges
    assert answer.status == 206 and answer["Content-Range"] == f"bytes {first}-{last}/{LENGTH}"
    assert answer.body == BODY[first:last + 1] and answer.end == "clean"


def cold(lab, tmp_path, where, workers=2):
    """A shield that has nothing, and keeps what it gets in memory or only on disk."""
    origin = lab.origin()
    disk = {"store": tmp_path, "sets": {"store.ram": "1m"}} if where == "disk" else {}
    return origin, lab.shield(origin, workers=workers, **disk)


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("workers", [1, 2])
def test_one_fetch_for_500_parts(lab, tmp_path, where, workers):
    """Issue 4, point 6: each byte of the object comes once, whoever wants which."""
    n = 500
    origin, shield = cold(lab, tmp_path, where, workers)
    chance = random.Random(2)
    wanted = [some_ranges(chance, 1 if i % 3 else chance.randrange(2, 17)) for i in range(n)]
    forms = {0: ("bytes=-1000", [(LENGTH - 1000, LENGTH - 1)]), 1: ("bytes=8388000-", [(8_388_000, LENGTH - 1)])}
    for i, (_, ranges) in forms.items():
        wanted[i] = ranges
    crowd = lab.crowd(shield, n).send(
        lambda i: request_bytes("/x", Range=forms[i][0] if i in forms else asking(wanted[i])))
    held = origin.expect("/x")
    assert "Range" not in held and "If-Range" not in held
    shield.wait_metric("collapsed_requests_total", n - 1)
    held.send_head(200, FRESH, length=LENGTH)
    for start, end in zip(PIECES, PIECES[1:]):
        held.send(BODY[start:end])
    held.finish()
    for answer, ranges in zip(crowd.responses(), wanted):
        is_what_was_asked(answer, ranges)
    assert origin.count() == 1
    assert LENGTH <= shield.metric("origin_bytes_total") < LENGTH + 2000
    assert shield.metric("waiter_fates_total", fate="served") == n


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_thousand_of_which_some_vanish(lab, tmp_path, where):
    """At every stage of the object some leave with a reset, wherever they are in a part; nobody else notices."""
    origin, shield = cold(lab, tmp_path, where)
    chance = random.Random(3)
    wanted = [some_ranges(chance, chance.randrange(2, 17)) for _ in range(800)]
    crowd = lab.crowd(shield, len(wanted)).send(lambda i: ask_for(wanted[i]))
    vanishing = [lab.crowd(shield, 40).send(lambda i: ask_for(some_ranges(chance, 16))) for _ in range(5)]
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 999)
    held.send_head(200, FRESH, length=LENGTH)
    for start, end in zip(PIECES, PIECES[1:]):
        held.send(BODY[start:end])
        if vanishing and start > 0:
            leaving = vanishing.pop()
            leaving.until("has a head", lambda a: a.has_head)
            leaving.reset()
    held.finish()
    for answer, ranges in zip(crowd.responses(), wanted):
        is_multipart(answer, ranges, BODY)
    assert origin.count() == 1


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_who_leaves_in_the_middle_of_a_stored_part(lab, tmp_path, where):
    """With a write pending, and from disk with a load under way."""
    origin, shield = cold(lab, tmp_path, where)
    origin.on("/x", cacheable(BODY, ETag=ETAG, Content_Type=TYPE))
    assert lab.ask(shield, "/x").body == BODY
    shield.wait_stored()
    ranges = [(6_000_000, 8_000_000), (100_000, 4_000_000), (0, 9)]
    for n in (0, 1, 1000, 300_000, 2_000_100):
        clients = [lab.client(shield).send(ask_for(ranges)) for _ in range(10)]
        for client in clients:
            client.body(n)
            client.reset()
    is_multipart(lab.client(shield).send(ask_for(ranges)).response(), ranges, BODY)
    shield.wait_metric("client_connections", 1)
    assert origin.count() == 1


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_slow_readers_get_every_byte(lab, tmp_path, where):
    """They have read nothing while the object has come, has been stored and would have to make room for others."""
    origin, shield = cold(lab, tmp_path, where)
    chance = random.Random(4)
    wanted = []
    clients = []
    for _ in range(20):
        ranges = [(first, first + 899_999) for first in chance.sample(range(0, LENGTH - 900_000, 900_001), 8)]
        client = lab.keep(lab.clients, Client(shield.address))
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        clients.append(client.send(ask_for(ranges)))
        wanted.append(ranges)
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", len(clients) - 1)
    held.respond(200, FRESH, BODY)
    shield.wait_metric("flights", 0)
    shield.wait_stored()
    for i in range(20):
        origin.on(f"/{i}", cacheable(bytes(500_000)))
        lab.ask(shield, f"/{i}")
    assert shield.metric("requests_total", result="collapsed") == 0  # none of their answers is out
    for client, ranges in zip(clients, wanted):
        is_multipart(client.response(), ranges, BODY)
    assert origin.count("/x") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_that_the_disk_has_already_of_what_arrives(lab, tmp_path, workers):
    """What the store has committed leaves memory while the rest is on its way: parts before it are loaded, later ones awaited."""
    ranges = [(4_000_000, 4_400_000), (0, 2_000_000), (7_000_000, 7_100_000), (3_000_000, 3_400_000), (LENGTH - 9, LENGTH - 1)]
    origin, shield = cold(lab, tmp_path, "disk", workers)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    held.send_head(200, FRESH, length=LENGTH).send(BODY[:5_000_000])
    assert whole.body(5_000_000) == BODY[:5_000_000]
    shield.wait_metric("store_bytes", lambda v: v > 4_500_000)
    crowd = lab.crowd(shield, 50).send(lambda _: ask_for(ranges))
    for at in range(5_000_000, 6_000_000, 10_000):
        held.send(BODY[at:at + 10_000])
        crowd.turn(0)
    for answer in crowd.body(2_400_002):
        assert BODY[:2_000_001] in answer.body and len(answer.body) < 2_500_000
    held.send(BODY[6_000_000:]).finish()
    for answer in crowd.responses():
        is_multipart(answer, ranges, BODY)
    assert whole.response().body == BODY
    assert origin.count() == 1


def test_asked_ahead_while_the_object_arrives(lab):
    """A pipeline of parts, one, several and none, and heads: each answer whole and in its place."""
    origin = lab.origin()
    shield = lab.shield(origin)
    whole = lab.client(shield).request("/x")
    held = origin.expect("/x")
    chance = random.Random(5)
    asked = [some_ranges(chance, chance.randrange(1, 17)) for _ in range(20)]
    client = lab.client(shield)
    for ranges in asked:
        client.send(ask_for(ranges), ["GET"])
        client.request("/x", "HEAD", Range=asking(ranges))
    client.request("/x", Range=f"bytes={LENGTH}-")
    shield.wait_metric("collapsed_requests_total", 1)
    held.send_head(200, FRESH, length=LENGTH)
    for start, end in zip(PIECES, PIECES[1:]):
        held.send(BODY[start:end])
    held.finish()
    for ranges in asked:
        is_what_was_asked(client.response(), ranges)
        answer = client.response()
        assert answer.status == 200 and answer["Content-Length"] == str(LENGTH)
    assert client.response().status == 416
    assert whole.response().body == BODY
    assert origin.count() == 1
