"""The admin port, the metrics, and the access log."""
import json
import re
import socket
import subprocess

import pytest

from patience import until
from scripted_origin import Reply, cacheable

NAMES = """requests_total request_duration_seconds origin_requests_total origin_responses_total origin_duration_seconds flights
flights_started_total waiters waiter_wait_seconds waiter_fates_total collapsed_requests_total origin_bytes_total
client_bytes_total uncacheable_total misses_total resumes_total object_age_seconds store_bytes store_objects
store_pending_objects store_ram_bytes store_commit_seconds evictions_total origin_inflight origin_queue_depth
limit_reached_total invariant_violations_total build_info""".split()


@pytest.fixture
def used(lab):
    """A shield that has done a little of everything."""
    origin = lab.origin().on("/x?secret=1", cacheable("hello")).on("/own", Reply("x", Cache_Control="private"))
    shield = lab.shield(origin)
    for target in ("/x?secret=1", "/x?secret=1", "/own", "/own"):
        lab.ask(shield, target)
    lab.ask(shield, "/own", "POST", body=b"x")
    shield.origin = origin
    return shield


def test_metrics_have_the_names_of_the_contract(used):
    status, text, headers = used.admin_get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    typed = dict(re.findall(r"^# TYPE shield_(\S+) (\w+)$", text, re.M))
    assert not [name for name in NAMES if name not in typed]
    assert all(kind == "histogram" for name, kind in typed.items() if name.endswith("_seconds"))
    assert all(kind == "counter" for name, kind in typed.items() if name.endswith("_total"))
    assert "secret=" not in text and "/own" not in text and "edge.test" not in text
    used.metrics()


def test_what_the_metrics_count(used):
    used.wait_metric("requests_total", 5)
    for result, n in {"hit": 1, "miss": 2, "pass": 2}.items():
        assert used.metric("requests_total", result=result) == n, result
    used.wait_metric("request_duration_seconds_count", 5)
    used.wait_metric("origin_requests_total", 4, origin="default")
    assert {k: used.metric("origin_requests_total", kind=k) for k in ("miss", "pass")} == {"miss": 2, "pass": 2}
    assert sum(used.metric("origin_responses_total", **{"class": c}) for c in ("2xx", "2")) == 4
    assert used.metric("uncacheable_total", reason="private") >= 1
    assert used.metric("misses_total") >= 2
    assert used.metric("store_ram_bytes") > 0
    assert used.metric("client_bytes_total") > 0 and used.metric("origin_bytes_total") > 0
    used.wait_metric("build_info", 1)
    for histogram in ("request_duration_seconds", "waiter_wait_seconds"):
        buckets = sorted((float(dict(pairs)["le"].replace("+Inf", "inf")), value) for (name, pairs), value in
                         used.metrics().items() if name == f"shield_{histogram}_bucket" and dict(pairs).get("result", "hit") == "hit")
        assert buckets and buckets[-1][0] == float("inf")
        assert [v for _, v in buckets] == sorted(v for _, v in buckets)


def test_health(used):
    for path in ("/livez", "/readyz", "/healthz", "/readyz?verbose"):
        status, text, _ = used.admin_get(path)
        assert status == 200 and text, path


def test_stats_are_json(used):
    status, text, headers = used.admin_get("/stats")
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert isinstance(json.loads(text), dict)


def test_flights_are_json(used):
    status, text, headers = used.admin_get("/flights")
    assert (status, json.loads(text)) == (200, {"flights": []})
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("method, path, status", [
    ("POST", "/purge", 200), ("GET", "/nonsense", 404), ("GET", "/", 404), ("POST", "/metrics", 405), ("GET", "/purge", 405),
    ("DELETE", "/livez", 405), ("HEAD", "/livez", 200),
])
def test_other_requests(used, method, path, status):
    body = b'{"all":true}' if method == "POST" else None
    assert used.admin_get(path, method, body)[0] == status


def test_the_admin_port_takes_keep_alive_nonsense_and_silence(used):
    silent = socket.create_connection(used.admin)
    with socket.create_connection(used.admin, timeout=10) as s:
        s.sendall(b"nonsense\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(used.admin, timeout=10) as s:
        for _ in range(3):
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert s.recv(1000).startswith(b"HTTP/1.1 200")
    silent.close()


def test_traffic_paths_are_not_served_on_the_admin_port_and_the_other_way_round(used):
    assert used.admin_get("/x?secret=1")[0] == 404
    assert used.origin.count("/metrics") == 0


def test_the_access_log_is_json_lines(lab, tmp_path):
    origin = lab.origin().on_all(lambda r: cacheable("hello") if r.method == "GET" else Reply("x"))
    path = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"access_log": path})
    client = lab.client(shield)
    odd = '/x?q="\\%00'
    client.ask("/a")
    client.ask("/a")
    client.ask("/a", "POST", body=b"x")
    client.ask(odd)
    client.send(b"GET / HTTP/1.1\r\n\r\n").response()
    until("five lines are there", lambda: path.read_text().count("\n") >= 5)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["method"], e["target"], e["status"], e["result"]) for e in lines[:4]] == [
        ("GET", "/a", 200, "miss"), ("GET", "/a", 200, "hit"), ("POST", "/a", 200, "pass"), ("GET", odd, 200, "miss")]
    assert (lines[4]["status"], lines[4]["result"]) == (400, "refused")
    for entry in lines[:4]:
        assert entry["host"] == "edge.test" and entry["bytes"] >= 1 and entry["duration_us"] >= 0
        assert entry["client"].startswith("127.0.0.1")
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", entry["time"])


def test_the_access_log_of_a_hit_that_was_read_slowly(lab, tmp_path):
    """DESIGN section 3: loops share one read buffer, so what outlives its turn keeps its own copy of the request."""
    origin = lab.origin().on_all(cacheable(b"z" * (24 << 20)))
    path = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"access_log": path})
    lab.ask(shield, "/slow")
    origin.on_all(cacheable("other"))
    slow = lab.client(shield)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.request("/slow", User_Agent="the slow one")
    assert slow.head().cache["hit"]  # the rest does not fit into the sockets
    lab.ask(shield, "/another-and-much-longer-target", host="a-much-longer-name.test", User_Agent="somebody else" * 9)
    assert slow.response().end == "clean"
    until("three lines are there", lambda: path.read_text().count("\n") == 3)
    entry = json.loads(path.read_text().splitlines()[-1])
    assert (entry["result"], entry["method"], entry["host"], entry["target"]) == ("hit", "GET", "edge.test", "/slow")
    assert "somebody" not in json.dumps(entry)


def test_the_access_log_tells_fates(lab, tmp_path):
    origin = lab.origin()
    path = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"access_log": path})
    crowd = lab.crowd(shield, 5).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 4)
    held.respond(200, {"Cache-Control": "max-age=60"}, b"x")
    crowd.responses()
    until("five lines are there", lambda: path.read_text().count("\n") == 5)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(e["result"] for e in lines) == ["collapsed"] * 4 + ["miss"]
    assert {e["fate"] for e in lines} == {"served"}
    assert all(e["wait_us"] >= 0 for e in lines)


def test_the_access_log_on_stdout(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin, sets={"access_log": "stdout"}, stdout=subprocess.PIPE)
    lab.ask(shield, "/x")
    assert shield.stop() == 0
    entry = json.loads(shield.process.stdout.read().decode())
    shield.process.stdout.close()
    assert entry["target"] == "/x"


def test_the_log_names_the_cause_of_a_failing_origin(lab):
    dead = lab.dead_port()
    shield = lab.shield(dead)
    lab.ask(shield, "/x")
    shield.wait_log(rf"(?i)127\.0\.0\.1:{dead.port}.*refused|refused.*127\.0\.0\.1:{dead.port}")
