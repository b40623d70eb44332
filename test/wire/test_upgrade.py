"""Upgrade (RFC 9110 section 7.8): only where a route allows it; then a 101 makes a tunnel, and nothing else does."""
import hashlib
import os
import signal
import socket
import threading

import pytest

from http_text import parse_head
from patience import until
from shield_process import run

ASK = (b"GET %s HTTP/1.1\r\nHost: edge.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
       b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
NEXT = b"GET /next HTTP/1.1\r\nHost: edge.test\r\n\r\n"
ROUTES = "routes:\n  - { match: { path: [/ws, /ws/*] }, upgrade: %s }\n"


class Site:
    """A shield with a route for websocket, and its origin."""

    def __init__(self, lab, tmp_path, upgrade="websocket", **sets):
        self.lab = lab
        self.config = tmp_path / "shield.yaml"
        self.config.write_text(ROUTES % upgrade)
        self.origin = lab.origin()
        self.shield = lab.shield(self.origin, args=["-c", str(self.config)], sets=sets)

    def ask(self, behind=b"", target=b"/ws"):
        """A client that has asked for the upgrade, and the request as the origin has it."""
        client = self.lab.client(self.shield).send(ASK % target + behind)
        return client, self.origin.expect(target.decode())

    def tunnel(self, behind_request=b"", behind_answer=b""):
        """Both ends of a tunnel: the client's and the origin's sockets."""
        client, held = self.ask(behind_request)
        held.send(SWITCH + behind_answer)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = client.sock.recv(1)
            assert byte, f"closed behind {head!r}"
            head += byte
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.head = parse_head(head)[1]
        return client.sock, held.sock


@pytest.fixture
def site(lab, tmp_path):
    return Site(lab, tmp_path)


def read(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        assert more, f"an end behind {len(data)} of {n} bytes"
        data += more
    return data


def is_reset(sock):
    try:
        while sock.recv(65536):
            pass
        return False
    except ConnectionResetError:
        return True


def wait_dropped(origin, held):
    """The shield lets go of the connection, whose answer is complete."""
    until("the shield drops the connection", lambda: held.connection not in origin.open)


def is_at_end(sock):
    return sock.recv(1) == b""


# ---- the request ----

def test_what_goes_upstream(site):
    _, held = site.ask()
    assert held.fields.all("Connection") == ["upgrade"]
    assert held.fields.all("Upgrade") == ["websocket"]
    assert held.get("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ==" and held.get("Sec-WebSocket-Version") == "13"
    assert site.shield.metric("passes_total", reason="upgrade") == 1
    held.respond(200, {}, b"no")


@pytest.mark.parametrize("offered, goes", [(b"h2c, websocket", True), (b"h2c", False), (b"websocket2", False), (b"web", False),
                                           (b"websocket/13", False), (b"", False), (b'"websocket"', False), (b"WEBSOCKET", True)])
def test_the_protocol_is_a_token_of_the_list(site, offered, goes):
    site.lab.client(site.shield).send(ASK.replace(b": WebSocket", b": " + offered) % b"/ws")
    held = site.origin.expect("/ws")
    assert held.fields.all("Upgrade") == (["websocket"] if goes else [])
    held.respond(200, {}, b"no")


@pytest.mark.parametrize("request_bytes", [
    ASK.replace(b"keep-alive, Upgrade", b"keep-alive"),
    ASK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ASK.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
    ASK.replace(b"GET", b"HEAD"),
    ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nhi"),
    ASK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
], ids=["not in Connection", "HTTP/1.0", "POST", "HEAD", "content", "chunked"])
def test_what_asks_for_none(site, request_bytes):
    """And a 101 to it is the origin's mistake."""
    client = site.lab.client(site.shield).send(request_bytes % b"/ws", [request_bytes.split(b" ")[0].decode()])
    held = site.origin.expect("/ws")
    assert "Upgrade" not in held and "Connection" not in held
    held.send(SWITCH + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert client.response().status == 502
    held.wait_closed()
    assert site.shield.metric("tunnels") == 0


def test_other_routes_have_none(site):
    client = site.lab.client(site.shield).send(ASK % b"/other")
    held = site.origin.expect("/other")
    assert "Upgrade" not in held and "Connection" not in held
    held.send(SWITCH)
    assert client.response().status == 502


def test_none_joins_and_none_is_stored(site):
    """Not even what came as an ordinary answer that says it may be."""
    first, one = site.ask()
    second, two = site.ask()
    for held in (one, two):
        held.respond(200, {"Cache-Control": "max-age=60"}, b"own")
    assert first.response().body == second.response().body == b"own"
    plain = site.lab.client(site.shield).request("/ws")
    site.origin.expect("/ws").respond(200, {}, b"plain")
    assert plain.response().body == b"plain"


def test_it_begins_with_a_new_connection(site):
    site.origin.on("/next", lambda r: r.respond(200, {}, b"x"))
    assert site.lab.ask(site.shield, "/next").status == 200
    assert site.origin.connections == 1
    client, held = site.ask()
    assert site.origin.connections == 2
    held.respond(426, {"Upgrade": "websocket", "Connection": "upgrade"}, b"old")
    assert client.response().status == 426
    wait_dropped(site.origin, held)


# ---- the tunnel ----

def test_a_tunnel(site):
    client, origin = site.tunnel()
    assert site.head.get("Upgrade") == "websocket" and site.head.get("Connection") == "upgrade"
    assert site.head.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" and "shield" in site.head.get("Via")
    for _ in range(3):
        client.sendall(b"\x81\x05hello\x00\xff")
        assert read(origin, 9) == b"\x81\x05hello\x00\xff"
        origin.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert read(client, 19) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert site.shield.metric("tunnels") == 1
    assert site.shield.metric("origin_inflight") == 1
    client.shutdown(socket.SHUT_WR)
    assert is_at_end(origin)
    origin.shutdown(socket.SHUT_WR)
    assert is_at_end(client)
    site.shield.wait_metric("tunnels", 0)
    site.shield.wait_metric("origin_inflight", 0)
    assert site.shield.metric("tunnel_bytes_total", to="origin") == 27
    assert site.shield.metric("tunnel_bytes_total", to="client") == 57
    assert site.shield.metric("requests_total", result="pass") == 1


def test_bytes_behind_both_heads(site):
    client, origin = site.tunnel(NEXT, b"early")
    assert read(client, 5) == b"early"
    assert read(origin, len(NEXT)) == NEXT
    assert site.origin.count("/next") == 0


def test_interim_responses_go_before_it(site):
    client, held = site.ask()
    held.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SWITCH + b"first")
    data = b""
    while not data.endswith(b"first"):
        data += client.sock.recv(65536)
    assert data.startswith(b"HTTP/1.1 103 ") and data.index(b"HTTP/1.1 101 ") < data.index(b"first")


def test_a_half_closed_client_is_still_served(site):
    client, held = site.ask(b"bye")
    client.half_close()
    held.send(SWITCH)
    assert read(held.sock, 3) == b"bye" and is_at_end(held.sock)
    held.send(b"last words")
    held.sock.shutdown(socket.SHUT_WR)
    data = b""
    while more := client.sock.recv(65536):
        data += more
    assert data.endswith(b"\r\n\r\nlast words")


def test_a_101_and_an_end(site):
    client, origin = site.tunnel()
    origin.shutdown(socket.SHUT_WR)
    assert is_at_end(client)
    client.sendall(b"still")
    assert read(origin, 5) == b"still"
    client.close()
    assert is_at_end(origin)
    site.shield.wait_metric("tunnels", 0)


def test_a_101_with_all_there_is_behind_it(site):
    client, held = site.ask()
    client.half_close()
    held.send(SWITCH + b"all")
    held.sock.shutdown(socket.SHUT_WR)
    data = b""
    while more := client.sock.recv(65536):
        data += more
    assert data.endswith(b"\r\n\r\nall")
    assert is_at_end(held.sock)
    site.shield.wait_metric("tunnels", 0)


@pytest.mark.parametrize("who", ["client", "origin"])
def test_a_reset_is_passed_on(site, who):
    client, held = site.ask()
    held.send(SWITCH)
    site.shield.wait_metric("tunnels", 1)
    if who == "client":
        client.reset()
        assert is_reset(held.sock)
    else:
        held.reset()
        assert is_reset(client.sock)
    site.shield.wait_metric("tunnels", 0)
    site.shield.wait_metric("origin_inflight", 0)


def test_a_client_that_leaves_before_the_answer(site):
    client, held = site.ask()
    client.reset()
    held.wait_closed()
    site.shield.wait_metric("origin_inflight", 0)


def send_all(sock, piece, times):
    def work():
        for _ in range(times):
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def digest_of(sock):
    digest, n = hashlib.sha256(), 0
    while data := sock.recv(262144):
        digest.update(data)
        n += len(data)
    return n, digest.digest()


def test_64_mib_each_way_at_once(site):
    client, origin = site.tunnel()
    up, down, times = os.urandom(1 << 20), os.urandom(1 << 20), 64
    senders = [send_all(client, up, times), send_all(origin, down, times)]
    got = {}
    reader = threading.Thread(target=lambda: got.update(origin=digest_of(origin)), daemon=True)
    reader.start()
    got["client"] = digest_of(client)
    for thread in (*senders, reader):
        thread.join()
    assert got["origin"] == (64 << 20, hashlib.sha256(up * times).digest())
    assert got["client"] == (64 << 20, hashlib.sha256(down * times).digest())
    site.shield.wait_metric("tunnels", 0)


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_slow_reader_stops_the_sender(site, way):
    """Nobody reads: what the shield takes has an end. Then all of it comes."""
    client, origin = site.tunnel()
    source, sink = (client, origin) if way == "up" else (origin, client)
    before = site.shield.rss_bytes()
    source.setblocking(False)
    piece, sent = os.urandom(1 << 20), bytearray()

    def is_stuck():
        """Nothing has been taken since the last look, in spite of all patience."""
        n = 0
        try:
            while len(sent) < 256 << 20:
                n = source.send(piece)
                sent.extend(piece[:n])
        except BlockingIOError:
            pass
        return n == 0
    until("the sender is held back", is_stuck, pause_s=0.05)
    assert len(sent) < 64 << 20
    assert not site.shield.is_plain or site.shield.rss_bytes() < before + (8 << 20)
    source.setblocking(True)
    source.settimeout(15)
    source.shutdown(socket.SHUT_WR)
    assert digest_of(sink) == (len(sent), hashlib.sha256(sent).digest())


# ---- what is no tunnel ----

WRONG = {
    "another protocol": SWITCH.replace(b"websocket", b"h2c"),
    "a second protocol": SWITCH.replace(b"websocket", b"websocket, h2c"),
    "no Upgrade": SWITCH.replace(b"Upgrade: websocket\r\n", b""),
    "not in Connection": SWITCH.replace(b"Connection: Upgrade\r\n", b""),
    "a length": SWITCH.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
    "a coding": SWITCH.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "HTTP/1.0": SWITCH.replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_101_that_is_wrong(site, name):
    client, held = site.ask(NEXT)
    held.send(WRONG[name] + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    client.methods = ["GET", "GET"]
    assert client.response().status == 502
    held.wait_closed()
    site.origin.expect("/next").respond(200, {}, b"next")  # what stood behind the head is a request again
    assert client.response().body == b"next"
    assert site.shield.metric("tunnels") == 0


@pytest.mark.parametrize("status", [200, 204, 400, 404, 426, 500, 503])
def test_any_other_answer_is_an_ordinary_one(site, status):
    client, held = site.ask(NEXT)
    client.methods = ["GET", "GET"]
    held.respond(status, {"Upgrade": "websocket", "Connection": "Upgrade"}, b"no")
    answer = client.response()
    assert answer.status == status and "Upgrade" not in answer.fields and "Connection" not in answer.fields
    wait_dropped(site.origin, held)  # an origin that thinks otherwise gets no other request there
    site.origin.expect("/next").respond(200, {}, b"next")
    assert client.response().body == b"next"


def test_an_answer_without_an_end_is_one(site):
    """What could be a tunnel's bytes is content until the origin closes, and nothing goes up."""
    client, held = site.ask(NEXT)
    client.methods = ["GET", "GET"]
    held.send(b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw")
    assert client.body(3) == b"raw"
    held.close()
    assert client.response().body == b"raw"
    site.origin.expect("/next").respond(200, {}, b"next")
    assert client.response().body == b"next"


def test_a_101_cut_short(site):
    client, held = site.ask()
    held.send(SWITCH[:-2])
    held.close()
    assert client.response().status == 502


def test_a_second_101_is_the_tunnels(site):
    client, _ = site.tunnel(b"", SWITCH)
    assert read(client, len(SWITCH)) == SWITCH


# ---- bounds ----

def test_an_idle_tunnel_ends(lab, tmp_path):
    site = Site(lab, tmp_path, **{"client.tunnel_timeout": "200ms"})
    client, origin = site.tunnel()
    assert is_reset(client) and is_reset(origin)
    assert site.shield.metric("limit_reached_total", limit="client.tunnel_timeout") == 1
    assert site.shield.metric("tunnels") == 0


def test_a_reader_that_takes_nothing_ends_it(lab, tmp_path):
    site = Site(lab, tmp_path, **{"client.tunnel_timeout": "300ms"})
    client, origin = site.tunnel()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while True:
            origin.sendall(b"x" * 65536)
    assert site.shield.metric("limit_reached_total", limit="client.tunnel_timeout") == 1


def test_max_tunnels(lab, tmp_path):
    """Of those that ask too: an origin's places are for others as well."""
    site = Site(lab, tmp_path, **{"origins.default.max_tunnels": 2})
    client, _ = site.tunnel()
    asking, held = site.ask()
    third = lab.client(site.shield).send(ASK % b"/ws")
    answer = third.response()
    assert answer.status == 503 and answer["Retry-After"]
    assert site.shield.metric("limit_reached_total", limit="origins.max_tunnels") == 1
    assert site.shield.metric("refusals_total", reason="origins.max_tunnels") == 1
    held.respond(200, {}, b"no")
    assert asking.response().status == 200
    client.close()
    site.origin.on("/ws", lambda r: r.respond(200, {}, b"again"))
    until("there is room again", lambda: third.send(ASK % b"/ws").response().status == 200)


def test_it_holds_its_place(lab, tmp_path):
    site = Site(lab, tmp_path, **{"origins.default.max_concurrent": 1})
    client, origin = site.tunnel()
    waiting = lab.client(site.shield).request("/next")
    site.shield.wait_metric("origin_queue_depth", 1)
    client.close()
    origin.close()
    site.origin.expect("/next").respond(200, {}, b"next")
    assert waiting.response().body == b"next"


# ---- the process ----

def test_drain_ends_them_at_its_time(lab, tmp_path):
    site = Site(lab, tmp_path, drain_timeout="300ms")
    client, origin = site.tunnel()
    site.shield.send_signal(signal.SIGTERM)
    site.shield.wait_log("drain|stop")
    client.sendall(b"on")
    assert read(origin, 2) == b"on"
    assert is_reset(client) and is_reset(origin)
    assert site.shield.wait_exit() == 0


def test_a_drain_waits_for_those_that_end(site):
    client, origin = site.tunnel()
    site.shield.send_signal(signal.SIGQUIT)
    client.close()
    assert is_at_end(origin)
    origin.close()
    assert site.shield.wait_exit() == 0


def test_a_reload_is_for_new_requests(site):
    client, origin = site.tunnel()
    site.config.write_text(ROUTES % "off")
    mark = site.shield.log_mark()
    site.shield.send_signal(signal.SIGHUP)
    site.shield.wait_log("reload", since=mark)
    client.sendall(b"on")
    assert read(origin, 2) == b"on"
    _, held = site.ask()
    assert "Upgrade" not in held
    held.respond(200, {}, b"no")


# ---- the directive ----

@pytest.mark.parametrize("written, shown", [("websocket", ["websocket"]), ("[websocket, irc/2]", None), ("[mqtt, websocket]", ["mqtt", "websocket"]),
                                            ("off", []), ("[]", []), ("[off, websocket]", None), ("h2c", None), ("[websocket, HTTP]", None),
                                            ("TLS", None), ("'a b'", None)])
def test_the_directive(tmp_path, written, shown):
    config = tmp_path / "shield.yaml"
    config.write_text("origins: { default: { servers: [http://127.0.0.1:1] } }\n" + ROUTES % written)
    code, out, err = run("-c", str(config), "-T")
    if shown is None:
        assert code == 2 and f"{config}:3:" in err
        return
    assert code == 0, err
    for name in shown:
        assert name in out
    assert ("upgrade:" in out and "h2c" not in out) or shown == []
    config.write_text(out)
    assert run("-c", str(config), "-T")[1] == out


def test_an_answer_of_the_routes_own_has_none(tmp_path):
    config = tmp_path / "shield.yaml"
    config.write_text("origins: { default: { servers: [http://127.0.0.1:1] } }\nroutes: [{ deny: on, upgrade: websocket }]\n")
    code, _, err = run("-c", str(config), "-t")
    assert code == 2 and "upgrade" in err
