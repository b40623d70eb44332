"""Servers that give no head: passed by while they are down, found again by one probe."""
import itertools
import signal
import time

from patience import LIFE_S, outlive, until
from scripted_origin import Origin, Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}
FOR_GOOD = {"flight.error_ttl": "1h", "flight.error_ttl_max": "1h"}
DUE_AT_ONCE = {"flight.error_ttl": "1ms", "flight.error_ttl_max": "1ms"}


def rude(request):
    request.reset()


def herd(lab, shield, name, n=200):
    """The answers to n requests at once, each for a key of its own."""
    crowd = lab.crowd(shield, n).send(lambda i: f"GET /{name}/{i} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return crowd.responses()


def is_down(answer):
    return answer.status == 503 and answer["Proxy-Status"] == "shield; error=destination_unavailable" and answer["Retry-After"]


def bring_down(lab, shield, n=5, status=502):
    for i in range(n):
        assert lab.ask(shield, f"/down/{i}").status == status
    shield.wait_metric("origin_servers_down", 1)


def test_one_dead_of_two_is_nobodys_trouble(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(lab.dead_port(), origin, workers=2, sets={"flight.error_ttl": "10ms", "flight.error_ttl_max": "20ms",
                                                                   "origins.default.idle_timeout": "0"})
    for name in "abc":
        assert {a.status for a in herd(lab, shield, name)} == {200}
    shield.wait_metric("origin_servers_down", 1)
    shield.wait_log("down after 5 failures in a row")


def test_all_down_asks_nobody(lab):
    """Five requests in a row without a head; then a herd of other keys costs the origin nothing."""
    origin = lab.origin().on_all(rude)
    shield = lab.shield(origin, workers=2, sets=FOR_GOOD)
    bring_down(lab, shield)
    assert origin.count() == 5
    assert all(is_down(a) for a in herd(lab, shield, "herd"))
    assert is_down(lab.ask(shield, "/post", "POST", body=b"x"))
    assert origin.count() == 5
    assert shield.metric("origin_requests_total", kind="probe") == 0
    shield.wait_metric("origin_inflight", 0)


def test_a_port_that_refuses(lab):
    shield = lab.shield(lab.dead_port(), workers=2, sets=FOR_GOOD)
    bring_down(lab, shield)
    assert all(is_down(a) for a in herd(lab, shield, "herd"))
    assert shield.metric("origin_responses_total", **{"class": "none"}) == 5


def test_a_herd_is_one_probe(lab):
    """The interval is over whenever they come; while one is asking the others are not let through."""
    origin = lab.origin().on_all(rude)
    shield = lab.shield(origin, workers=2, sets=DUE_AT_ONCE)
    bring_down(lab, shield)
    origin.on_all(None)
    asked = origin.count()
    probing = lab.client(shield).request("/probe")
    held = origin.expect("/probe")
    shield.wait_metric("origin_requests_total", 1, kind="probe")
    assert all(is_down(a) for a in herd(lab, shield, "herd"))
    assert origin.count() == asked + 1
    held.respond(200, FRESH, b"back")
    assert probing.response().body == b"back"
    shield.wait_metric("origin_servers_down", 0)
    shield.wait_log("answers again")
    origin.on_all(cacheable("x"))
    assert {a.status for a in herd(lab, shield, "after")} == {200}
    assert shield.metric("origin_requests_total", kind="probe") == 1


def test_a_probe_whose_client_leaves_gives_its_right_back(lab):
    origin = lab.origin().on_all(rude)
    shield = lab.shield(origin, workers=2, sets=dict(DUE_AT_ONCE, **{"flight.finish": "never"}))
    bring_down(lab, shield)
    origin.on_all(None)
    leaving = lab.client(shield).request("/leaves")
    held = origin.expect("/leaves")
    leaving.reset()
    held.wait_closed()
    origin.on_all(cacheable("x"))
    assert lab.ask(shield, "/next").status == 200
    shield.wait_metric("origin_requests_total", 2, kind="probe")
    shield.wait_metric("origin_servers_down", 0)


def test_a_hang_counts(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets=dict(FOR_GOOD, **{"origins.default.head_timeout": "100ms", "origins.default.down_after": "2"}))
    bring_down(lab, shield, 2, 504)
    assert is_down(lab.ask(shield, "/x"))
    assert origin.count() == 2


def test_a_hanging_server_of_two(lab):
    """A hang is its client's; but after some of them nobody is sent there any more."""
    good, bad = lab.origin().on_all(cacheable("x")), lab.origin()
    shield = lab.shield(good, bad, sets=dict(FOR_GOOD, **{"origins.default.head_timeout": "100ms", "origins.default.down_after": "2",
                                                          "origins.default.idle_timeout": "0"}))
    answers = [lab.ask(shield, f"/{i}").status for i in range(20)]
    assert answers.count(504) == 2 and answers.count(200) == 18
    assert bad.count() == 2


def test_a_5xx_is_an_answer(lab):
    origin = lab.origin().on_all(Reply("no", status=503, Cache_Control="no-store"))
    shield = lab.shield(origin, sets=dict(FOR_GOOD, **{"origins.default.down_after": "1"}))
    for i in range(5):
        assert lab.ask(shield, f"/{i}").body == b"no"
    assert origin.count() == 5


def test_what_breaks_off_behind_a_1xx_is_an_answer(lab):
    """As what breaks off within a head: one URL that brings it takes the server from nobody."""
    def hints_and_goes(request):
        request.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        request.reset()
    origin = lab.origin().on_all(hints_and_goes)
    shield = lab.shield(origin, sets=dict(FOR_GOOD, **{"origins.default.down_after": "1"}))
    for i in range(3):
        assert lab.ask(shield, f"/{i}").status == 502
    assert origin.count() == 3


def test_a_server_that_starts_late(lab):
    port = Origin()
    port.close()
    shield = lab.shield(f"http://127.0.0.1:{port.port}", workers=2, sets=DUE_AT_ONCE)
    bring_down(lab, shield)
    origin = lab.origin(port=port.port)
    origin.on_all(cacheable("back"))
    until("it is found", lambda: lab.ask(shield, "/x").status == 200)
    shield.wait_metric("origin_servers_down", 0)
    assert shield.metric("origin_requests_total", kind="probe") == 1


def test_a_down_server_of_two_is_found_again_while_the_other_serves(lab):
    good = lab.origin().on_all(cacheable("x"))
    port = Origin()
    port.close()
    shield = lab.shield(f"http://127.0.0.1:{port.port}", good, sets=dict(DUE_AT_ONCE, **{"origins.default.down_after": "1"}))
    client = lab.client(shield)
    for i in range(4):
        assert client.ask(f"/a/{i}").status == 200
    shield.wait_metric("origin_servers_down", 1)
    back = lab.origin(port=port.port)
    back.on_all(cacheable("x"))
    keys = itertools.count()
    until("the probe has gone there", lambda: client.ask(f"/b/{next(keys)}").status == 200 and back.count())
    shield.wait_metric("origin_servers_down", 0)
    assert shield.metric("origin_requests_total", kind="probe") == 1


def test_what_is_stale_answers_while_it_is_down(lab):
    origin = lab.origin().on("/x", cacheable("old", seconds=LIFE_S, ETag='"1"')).on_all(rude)
    shield = lab.shield(origin, sets=FOR_GOOD)
    lab.ask(shield, "/x")
    fetched = time.time()
    bring_down(lab, shield)
    asked = origin.count()
    outlive(fetched)
    stale = lab.ask(shield, "/x")
    assert (stale.status, stale.body) == (200, b"old")
    assert origin.count() == asked


def test_readiness_tells_of_it(lab):
    shield = lab.shield(lab.dead_port(), lab.origin().on_all(cacheable("x")), sets=dict(FOR_GOOD, **{"origins.default.down_after": "1"}))
    assert "[+]origin default ok" in shield.admin_get("/readyz?verbose")[1]
    for i in range(2):
        assert lab.ask(shield, f"/{i}").status == 200
    status, text, _ = shield.admin_get("/readyz?verbose")
    assert status == 200 and "[-]origin default: 1 of 2 servers down" in text


def test_a_reload_turns_it_off_and_lets_the_queue_go_on(lab, tmp_path):
    origin = lab.origin().on_all(rude)
    path = tmp_path / "shield.yaml"

    def write(down_after, most):
        path.write_text(f"origins: {{ default: {{ servers: ['{origin.url}'], down_after: {down_after}, max_concurrent: {most} }} }}\n"
                        "flight: { error_ttl: 1h, error_ttl_max: 1h }\n")

    def reload():
        mark = shield.log_mark()
        shield.send_signal(signal.SIGHUP)
        shield.wait_log("reload: done", since=mark)
    write(2, 1)
    shield = lab.shield(args=["-c", path], workers=2)
    bring_down(lab, shield, 2)
    assert is_down(lab.ask(shield, "/a"))
    write(0, 1)
    reload()
    origin.on_all(None)
    first, second = lab.client(shield).request("/1"), lab.client(shield).request("/2")
    shield.wait_metric("origin_queue_depth", 1)
    write(0, 2)
    reload()
    for held in (origin.expect("/1"), origin.expect("/2")):
        held.respond(200, FRESH, b"x")
    assert first.response().status == second.response().status == 200
    shield.wait_metric("origin_servers_down", 0)
