"""Clients that want more than their share: connections, requests, time, memory. Each bound answers, is counted, and lets
the others go on."""
import contextlib
import os
import resource
import select
import socket
import threading
import time

import pytest

from http_text import request_bytes
from patience import until
from raw_client import Client, reset
from scripted_origin import cacheable

FRESH = {"Cache-Control": "max-age=60"}
OTHERS = "127.0.0.2"  # an address that is not the tests' own


def warm(lab, **kw):
    origin = lab.origin().on_all(lambda request: cacheable(request.target))
    return origin, lab.shield(origin, **kw)


def limited(shield, limit):
    return shield.metric("limit_reached_total", limit=limit)


def descriptors(shield):
    return os.listdir(f"/proc/{shield.process.pid}/fd")


def wait_descriptors(shield, before):
    """Until no more are open than before."""
    until("the descriptors are back", lambda: len(descriptors(shield)) <= before)


def cpu_s(shield):
    with open(f"/proc/{shield.process.pid}/stat", encoding="ascii") as f:
        return sum(int(ticks) for ticks in f.read().rpartition(")")[2].split()[11:13]) / os.sysconf("SC_CLK_TCK")


def can_ask(shield, target):
    """Whether a new client gets its answer; it is turned away, cut or reset while there is no room."""
    try:
        client = Client(shield.address, 1)
        with client.sock:
            return client.ask(target).status == 200
    except (OSError, AssertionError):
        return False


def in_background(what, *args):
    """It may fail: the shield cuts who asks too much."""
    def attempt():
        with contextlib.suppress(OSError):
            what(*args)
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    return thread


def knock(lab, shield):
    """Connect, and nothing more; None when the connection is gone before connect() is through."""
    try:
        return lab.client(shield)
    except ConnectionError:
        return None


def is_refusal(answer, status):
    return answer.status == status and "error=" in answer["Proxy-Status"] and int(answer["Retry-After"]) >= 1


# all connections

@pytest.mark.parametrize("workers", [1, 2])
def test_who_is_idle_makes_room(lab, workers):
    """client.max_connections: of those who have had their answers the one goes that has been idle longest on its loop."""
    _, shield = warm(lab, workers=workers, sets={"client.max_connections": "3"})
    clients = [lab.client(shield) for _ in range(3)]
    for client in clients:
        assert client.ask("/x").status == 200
    for _ in range(3):
        assert lab.ask(shield, "/x").status == 200
    gone = select.select([c.sock for c in clients], [], [], 0)[0]
    assert gone and (workers > 1 or clients[0].sock in gone)
    assert limited(shield, "client.max_connections") >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_idle(lab, workers):
    """503 with Retry-After and a proper end, whatever the client has sent already; those who are served go on."""
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers, sets={"client.max_connections": "3"})
    crowd = lab.crowd(shield, 3).get("/busy")
    held = origin.expect("/busy")
    shield.wait_metric("waiters", 3)
    for _ in range(5):
        client = lab.client(shield).request("/x")
        answer = client.response()
        assert is_refusal(answer, 503) and answer["Connection"] == "close" and client.at_end()
    assert limited(shield, "client.max_connections") == 5
    assert shield.metric("refusals_total", reason="client.max_connections") == 5
    held.respond(200, FRESH, b"busy")
    assert {a.body for a in crowd.responses()} == {b"busy"}
    assert lab.ask(shield, "/busy").status == 200


def test_one_that_has_just_come_is_not_idle(lab):
    """Its request is on the way: to let it go for the next one would serve neither."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.max_connections": "2"})
    busy = lab.client(shield).request("/busy")
    held = origin.expect("/busy")
    first = lab.client(shield)
    shield.wait_metric("client_connections", 2)
    assert lab.client(shield).response().status == 503
    first.request("/busy")
    shield.wait_metric("waiters", 2)
    held.respond(200, FRESH, b"busy")
    assert first.response().body == busy.response().body == b"busy"


def test_those_who_only_connect_make_room_after_a_moment(lab):
    _, shield = warm(lab, sets={"client.max_connections": "20"})
    mute = [lab.client(shield) for _ in range(10)]
    halves = [lab.client(shield).send(b"GET / HT") for _ in range(10)]
    shield.wait_metric("client_connections", 20)
    until("there is room again", lambda: can_ask(shield, "/x"))
    for _ in range(20):
        assert lab.ask(shield, "/x").status == 200
    assert mute[0].at_end() and halves  # nobody is left to make room for those who still have it


def test_many_who_are_turned_away_do_not_stay(lab):
    """Only some get an answer at a time: the answers would need the room that there is not."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.max_connections": "2"})
    crowd = lab.crowd(shield, 2).get("/busy")
    held = origin.expect("/busy")
    shield.wait_metric("waiters", 2)
    flood = [knock(lab, shield) for _ in range(400)]
    shield.wait_metric("limit_reached_total", 400, limit="client.max_connections")
    assert shield.metric("client_connections") <= 2 + 65
    for client in filter(None, flood):
        client.close()
    held.respond(200, FRESH, b"busy")
    assert {a.body for a in crowd.responses()} == {b"busy"}
    shield.wait_metric("client_connections", lambda n: n <= 2)
    assert lab.ask(shield, "/busy").status == 200


# one address

@pytest.mark.parametrize("workers", [1, 2])
def test_connections_of_one_address(lab, workers):
    _, shield = warm(lab, workers=workers, sets={"client.max_connections_per_ip": "4"})
    clients = [lab.client(shield) for _ in range(4)]
    for client in clients:
        assert client.ask("/x").status == 200
    for _ in range(3):
        client = lab.client(shield).request("/x")
        answer = client.response()
        assert is_refusal(answer, 429) and answer["Connection"] == "close" and client.at_end()
    assert lab.client(shield, source=OTHERS).ask("/x").status == 200
    assert limited(shield, "client.max_connections_per_ip") == 3
    assert shield.metric("refusals_total", reason="client.max_connections_per_ip") == 3
    clients[0].close()
    until("there is room again", lambda: can_ask(shield, "/x"))
    for client in clients[1:]:
        assert client.ask("/x").status == 200


def test_a_flood_from_one_address(lab):
    _, shield = warm(lab, sets={"client.max_connections_per_ip": "4"})
    flood = [knock(lab, shield) for _ in range(300)]
    shield.wait_metric("limit_reached_total", 296, limit="client.max_connections_per_ip")
    assert shield.metric("client_connections") <= 4 + 65
    assert lab.client(shield, source=OTHERS).ask("/x").status == 200
    for client in filter(None, flood):
        client.close()
    until("there is room again", lambda: can_ask(shield, "/x"))


def test_requests_of_one_address(lab):
    """A token bucket: the burst at once, then the rate; on the same connection and on others."""
    origin, shield = warm(lab, workers=2, sets={"client.max_requests_per_ip": "1", "client.requests_burst_per_ip": "5"})
    client = lab.client(shield)
    answers = [client.ask("/x") for _ in range(4)] + [lab.ask(shield, "/x")]
    assert [a.status for a in answers] == [200] * 5
    refused = client.ask("/x")
    assert is_refusal(refused, 429) and int(refused["Retry-After"]) == 1
    assert refused.get("Connection", "").lower() != "close"
    assert shield.metric("refusals_total", reason="client.max_requests_per_ip") >= 1
    assert lab.client(shield, source=OTHERS).ask("/x").status == 200
    until("there is a token again", lambda: client.ask("/x").status == 200)
    assert limited(shield, "client.max_requests_per_ip") >= 1
    assert origin.count() == 1


def test_what_is_refused_by_rate_is_not_read(lab):
    """A refused request with content ends the connection: nothing of the content is taken for a request."""
    origin, shield = warm(lab, sets={"client.max_requests_per_ip": "1", "client.requests_burst_per_ip": "1"})
    client = lab.client(shield)
    client.send(request_bytes("/x") + request_bytes("/up", "POST", body=request_bytes("/smuggled")) + request_bytes("/y"),
                ["GET", "POST"])
    assert client.response().status == 200
    answer = client.response()
    assert is_refusal(answer, 429) and answer["Connection"] == "close" and client.at_end()
    assert [r.target for r in origin.requests()] == ["/x"]


@pytest.mark.parametrize("sets", [{"client.max_connections_per_ip": "1"}, {"client.max_requests_per_ip": "1"}])
def test_who_is_not_limited(lab, tmp_path, sets):
    path = str(tmp_path / "s.sock")
    _, shield = warm(lab, listen=[f"unix:{path}", "127.0.0.1:0"], sets={**sets, "edges.trusted": "127.0.0.0/8"})
    for address in shield.listen:
        clients = [lab.client(address) for _ in range(5)]
        for _ in range(3):
            assert {c.ask("/x").status for c in clients} == {200}


def test_limits_of_an_address_can_be_reloaded(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x"))
    path = tmp_path / "shield.yaml"
    path.write_text(f"origins: {{ default: {{ servers: [{origin.url}] }} }}\n")
    shield = lab.shield(args=["-c", path])
    old = [lab.client(shield) for _ in range(3)]
    assert {c.ask("/x").status for c in old} == {200}
    path.write_text(path.read_text() + "client: { max_connections_per_ip: 1 }\n")
    mark = shield.log_mark()
    shield.send_signal(1)
    shield.wait_log("reload: done", since=mark)
    assert {c.ask("/x").status for c in old} == {200}  # counted or not, nobody is cut
    assert lab.ask(shield, "/x").status == 429
    path.write_text(path.read_text().replace("max_connections_per_ip: 1", "max_requests_per_ip: 1"))
    mark = shield.log_mark()
    shield.send_signal(1)
    shield.wait_log("reload: done", since=mark)
    until("the rate holds for those who were there", lambda: old[0].ask("/x").status == 429)


# no descriptors

def test_a_flood_that_takes_all_descriptors(lab):
    """Lowered under the running process, so that no bound of the configuration comes first. Nothing spins; idle clients make
    room; the admin port, the origin and the new go on."""
    origin, shield = warm(lab, workers=2)
    own = len(descriptors(shield))
    lab.ask(shield, "/warm")
    flood = []
    resource.prlimit(shield.process.pid, resource.RLIMIT_NOFILE, (own + 20, own + 20))
    for _ in range(100):
        flood.append(knock(lab, shield))
    assert shield.admin_get("/livez")[0] == 200
    before = cpu_s(shield)
    time.sleep(1)  # what is measured is a second in which nothing is to be done
    assert cpu_s(shield) - before < 0.5
    until("a hit", lambda: can_ask(shield, "/warm"))
    until("a miss", lambda: can_ask(shield, "/cold"))
    assert shield.admin_get("/livez")[0] == 200
    for client in filter(None, flood):
        client.close()
    until("a hit", lambda: can_ask(shield, "/warm"))
    assert limited(shield, "client.max_connections") >= 1


def test_admin_and_origin_in_a_flood_of_busy_clients(lab, tmp_path):
    """The limit is known when the configuration is read: what is kept for others is enough for them."""
    origin = lab.origin()
    path = tmp_path / "shield.yaml"
    path.write_text(f"origins: {{ default: {{ servers: [{origin.url}] }} }}\n")
    shield = lab.shield(args=["-c", path], workers=2)
    resource.prlimit(shield.process.pid, resource.RLIMIT_NOFILE, (200, 200))
    mark = shield.log_mark()
    shield.send_signal(1)
    shield.wait_log("lowered from 100000 to 100", since=mark)
    shield.wait_log("reload: done", since=mark)
    busy = [lab.client(shield).request(f"/{i % 10}") for i in range(100)]
    held = [origin.expect(f"/{i}") for i in range(10)]
    shield.wait_metric("waiters", 100)
    turned_away = [lab.client(shield) for _ in range(20)]
    assert {c.response().status for c in turned_away} == {503}
    assert shield.admin_get("/livez")[0] == 200 and len(shield.flights()) == 10
    for i, request in enumerate(held):
        request.respond(200, FRESH, b"%d" % i)
    assert [c.response().body for c in busy] == [b"%d" % (i % 10) for i in range(100)]


# slow

def drip(sock, data, every_s):
    """Until the peer has had enough, or all is out."""
    try:
        for i in range(len(data)):
            sock.sendall(data[i:i + 1])
            if select.select([sock], [], [], every_s)[0]:
                return
    except OSError:
        pass


@pytest.mark.parametrize("chunked", [False, True])
def test_content_that_drips(lab, chunked):
    """client.drip_rate: never a pause of body_timeout, and yet it does not hold its place at the origin for ever."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.body_timeout": "1s"})
    fields = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": "100000"}
    client = lab.client(shield).send(request_bytes("/up", "POST", **fields), ["POST"])
    held = origin.expect("/up")
    drip(client.sock, b"1\r\na\r\n" * 1000 if chunked else b"a" * 1000, 0.05)
    answer = client.response()
    assert answer.status == 408 or answer.is_cut
    held.wait_closed()
    assert limited(shield, "client.drip_rate") == 1
    shield.wait_metric("origin_inflight", 0)


def test_content_that_is_only_slow(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.body_timeout": "300ms"})
    client = lab.client(shield).send(request_bytes("/up", "POST", Content_Length="2000"), ["POST"])
    held = origin.expect("/up")
    for _ in range(20):
        client.send(b"a" * 100)
        time.sleep(0.05)  # 2,000 bytes a second
    assert held.read_body() == b"a" * 2000
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_content_that_the_origin_does_not_take(lab):
    """Neither a pause nor a drip of the client's: it is we who do not read."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.body_timeout": "1s"})
    body = os.urandom(1 << 20) * 32
    client = lab.client(shield)
    sender = in_background(client.send, request_bytes("/up", "POST", body=body), ["POST"])
    held = origin.expect("/up")
    time.sleep(3)  # longer than body_timeout
    assert held.read_body() == body
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"
    sender.join()


def test_a_reader_that_drips(lab):
    """client.drip_rate: every look finds progress, and yet it does not stay."""
    origin = lab.origin().on("/x", cacheable(os.urandom(60_000_000)))
    shield = lab.shield(origin, sets={"client.write_timeout": "500ms", "client.drip_rate": "20m"})
    client = lab.client(shield)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.request("/x")
    while not client.begin().done:
        client.receive()
        time.sleep(0.05)
    assert client.begin().is_cut
    assert limited(shield, "client.drip_rate") == 1


def test_readers_that_never_read(lab):
    """What they hold is what the kernel's buffers hold, and that for write_timeout."""
    origin = lab.origin().on("/x", cacheable(os.urandom(16_000_000)))
    shield = lab.shield(origin, sets={"client.write_timeout": "2s"})
    lab.ask(shield, "/x")
    own, memory = len(descriptors(shield)), shield.rss_bytes()
    clients = [lab.client(shield).request("/x") for _ in range(100)]
    shield.wait_metric("client_connections_total", lambda n: n >= 100)
    assert not shield.is_plain or shield.rss_bytes() - memory < 20_000_000
    shield.wait_metric("limit_reached_total", 100, limit="client.write_timeout")
    assert all(c.response().is_cut for c in clients)
    wait_descriptors(shield, own)
    assert lab.ask(shield, "/x").status == 200


def test_ten_thousand_pipelined_requests_and_nothing_is_read(lab):
    origin = lab.origin().on("/x", cacheable(os.urandom(65536)))
    shield = lab.shield(origin, sets={"client.write_timeout": "2s"})
    lab.ask(shield, "/x")
    memory = shield.rss_bytes()
    client = lab.client(shield)
    in_background(client.send, request_bytes("/x") * 10_000)
    shield.wait_metric("requests_total", lambda n: n >= 5, result="hit")
    shield.wait_metric("limit_reached_total", 1, limit="client.write_timeout")
    assert not shield.is_plain or shield.rss_bytes() - memory < 4_000_000
    shield.wait_metric("client_connections", 0)
    assert shield.metric("requests_total", result="hit") < 10_000


def test_ten_thousand_pipelined_requests_are_answered(lab):
    origin = lab.origin().on("/x", cacheable(b"x" * 100))
    shield = lab.shield(origin)
    client = lab.client(shield)
    in_background(client.send, request_bytes("/x") * 10_000)
    assert sum(client.response().status == 200 for _ in range(10_000)) == 10_000


# many

def enough_descriptors(n):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(n, hard // 2 - 500)


def test_thousands_that_are_idle(lab):
    n = enough_descriptors(5000)
    _, shield = warm(lab, workers=2)
    lab.ask(shield, "/x")
    own, memory = len(descriptors(shield)), shield.rss_bytes()
    crowd = lab.crowd(shield, n)
    shield.wait_metric("client_connections", lambda now: now >= n)
    assert lab.ask(shield, "/x").status == 200
    assert not shield.is_plain or shield.rss_bytes() - memory < n * 2048 + 2_000_000
    crowd.close()
    wait_descriptors(shield, own)


def test_a_storm_of_resets(lab):
    origin, shield = warm(lab, workers=2)
    lab.ask(shield, "/hit")
    own = len(descriptors(shield))
    for i in range(1500):
        client = lab.client(shield)
        lab.clients.pop()
        client.send((b"", b"GET / HT", request_bytes("/hit"), request_bytes("/hit") * 20, request_bytes(f"/{i}"),
                     request_bytes("/hit", "HEAD") + b"\0")[i % 6])
        reset(client.sock)
    shield.wait_metric("client_connections", 0)
    shield.wait_metric("flights", 0)
    origin.drop_idle()
    wait_descriptors(shield, own)
    assert lab.ask(shield, "/hit").status == 200


def test_half_closed_after_whole_requests(lab):
    """DESIGN section 4: EOF behind a whole request is a half-close, and all that was asked is answered."""
    origin, shield = warm(lab)
    client = lab.client(shield).send(request_bytes("/a") + request_bytes("/b") + request_bytes("/a"))
    client.half_close()
    assert [client.response().body for _ in range(3)] == [b"/a", b"/b", b"/a"]
    assert client.at_end()


@pytest.mark.parametrize("n", [900, 1500])
def test_an_origin_with_very_many_fields(lab, n):
    """With the bound raised: what is taken can be stored and rewritten, what could not be is 502."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.max_fields": "64k"})
    client = lab.client(shield).request("/x")
    origin.expect("/x").respond(200, [("Cache-Control", "max-age=60")] + [(f"X-{i}", "y") for i in range(n)], b"x")
    assert client.response().status == (200 if n < 1000 else 502)
