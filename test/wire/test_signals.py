"""HUP, USR1, TERM, INT and QUIT."""
import json
import resource
import signal
import socket

import pytest

from patience import until
from scripted_origin import Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}


def configured(lab, tmp_path, origin, **names):
    path = tmp_path / "shield.yaml"

    def write(more=""):
        path.write_text(f"origins: {{ default: {{ servers: ['{origin.url}'] }} }}\n{more}\n")
    write(**names)
    return lab.shield(args=["-c", path]), write


def reload(shield, pattern):
    mark = shield.log_mark()
    shield.send_signal(signal.SIGHUP)
    return shield.wait_log(pattern, since=mark)


def test_reload(lab, tmp_path):
    origin = lab.origin().on_all(Reply("x", Cache_Control="max-age=60", Set_Cookie="a=1"))
    shield, write = configured(lab, tmp_path, origin)
    lab.ask(shield, "/x")
    client = lab.client(shield)
    assert "hit" not in client.ask("/x").cache
    write("cache: { set_cookie: strip }")
    reload(shield, r"(?i)reload")
    until("the new configuration is in use", lambda: client.ask("/y").get("Set-Cookie") is None)
    assert client.ask("/y").cache["hit"]


def test_a_bad_file_changes_nothing(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x"))
    shield, write = configured(lab, tmp_path, origin)
    write("cache: { set_cookie: strip, heuristic: perhaps }")
    reload(shield, r"shield\.yaml:2:\d+: ")
    assert lab.ask(shield, "/x").status == 200
    write("node: { name: other }")  # needs a restart: all or nothing
    reload(shield, r"node\.name.*restart|restart.*node\.name")
    assert lab.ask(shield, "/x").cache["said_by"] == "shield"
    write()
    reload(shield, r"(?i)reload")
    assert lab.ask(shield, "/x").cache["hit"]


def test_reload_with_requests_under_way(lab, tmp_path):
    origin = lab.origin()
    shield, write = configured(lab, tmp_path, origin)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    for i in range(5):
        write(f"client: {{ max_fields: {100 + i} }}")
        reload(shield, r"(?i)reload")
    held.respond(200, FRESH, b"x")
    assert {a.body for a in crowd.responses()} == {b"x"}


def test_a_reload_that_raises_the_limit_of_the_origin_moves_its_queue(lab, tmp_path):
    """DESIGN section 2, max_concurrent: with the next request all who wait go, without waiting for the old limit."""
    origin = lab.origin()
    path = tmp_path / "shield.yaml"

    def write(max_concurrent):
        path.write_text(f"origins: {{ default: {{ servers: ['{origin.url}'], max_concurrent: {max_concurrent} }} }}\n")
    write(1)
    shield = lab.shield(args=["-c", path])
    clients = [lab.client(shield).request(f"/{i}") for i in range(5)]
    shield.wait_metric("origin_queue_depth", 4)
    write(100)
    reload(shield, r"reload: done")
    clients.append(lab.client(shield).request("/5"))
    held = [origin.expect(f"/{i}") for i in range(6)]
    shield.wait_metric("origin_inflight", 6)
    shield.wait_metric("origin_queue_depth", 0)
    for i, request in enumerate(held):
        request.respond(200, FRESH, b"%d" % i)
        assert clients[i].response().body == b"%d" % i


def test_a_reload_keeps_within_the_descriptor_limit(lab, tmp_path):
    """DESIGN section 2: client.max_connections is lowered to what the hard limit has room for, at a reload too."""
    origin = lab.origin().on_all(cacheable("x"))
    shield, _ = configured(lab, tmp_path, origin)
    resource.prlimit(shield.process.pid, resource.RLIMIT_NOFILE, (100, 100))
    reload(shield, r"client\.max_connections: lowered from 100000 to 50\b")
    shield.wait_log(r"reload: done")
    origin.hold("/busy")
    origin.on_all(None)
    crowd = lab.crowd(shield, 50).get("/busy")
    held = origin.expect("/busy")
    shield.wait_metric("waiters", 50)
    for _ in range(5):
        assert lab.client(shield).response().status == 503
    shield.wait_metric("limit_reached_total", 5, limit="client.max_connections")
    held.respond(200, FRESH, b"busy")
    assert {a.body for a in crowd.responses()} == {b"busy"}


def test_a_limit_of_file_sizes_ends_nobody(lab, tmp_path):
    """RLIMIT_FSIZE (ulimit -f, LimitFSIZE=): what would write beyond it gets an error, not SIGXFSZ."""
    log = tmp_path / "access.log"
    shield = lab.shield(lab.origin().on_all(cacheable("x")), sets={"access_log": log})
    resource.prlimit(shield.process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    for n in range(20):
        assert lab.ask(shield, f"/{n}").body == b"x"
    until("the access log is full", lambda: log.stat().st_size == 1000)
    shield.send_signal(signal.SIGUSR1)
    shield.wait_log("access log: reopened")
    assert lab.ask(shield, "/more").body == b"x"


def test_without_a_file_hup_changes_nothing(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    reload(shield, r".")
    assert lab.ask(shield, "/x").status == 200


def test_usr1_reopens_the_access_log(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x"))
    log = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"access_log": log})
    lab.ask(shield, "/before")
    until("the first line is there", lambda: log.read_text().count("\n") == 1)
    log.rename(tmp_path / "old.log")
    shield.send_signal(signal.SIGUSR1)
    until("the new file is there", log.exists)
    lab.ask(shield, "/after")
    until("the second line is there", lambda: log.read_text().count("\n") == 1)
    assert json.loads(log.read_text())["target"] == "/after"
    assert json.loads((tmp_path / "old.log").read_text())["target"] == "/before"


def refuses(address):
    try:
        socket.create_connection(address, timeout=5).close()
        return False
    except OSError:  # refused, or reset because the listener went while this one stood in its queue
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_under_way_is_finished(lab, number, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    crowd = lab.crowd(shield, 10).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 9)
    held.send_head(200, FRESH, length=8).send(b"half")
    crowd.body(4)
    shield.send_signal(number)
    until("it has stopped listening", lambda: refuses(shield.address))
    held.send(b"half").finish()
    assert {(a.body, a.end) for a in crowd.responses()} == {(b"halfhalf", "clean")}
    assert shield.wait_exit() == 0


def test_a_request_without_a_head_yet_is_finished_and_its_connection_closed(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    shield.send_signal(signal.SIGTERM)
    until("it has stopped listening", lambda: refuses(shield.address))
    held.respond(200, FRESH, b"x")
    answer = client.response()
    assert answer.body == b"x" and answer["Connection"] == "close"
    assert client.at_end()
    assert shield.wait_exit() == 0


def test_idle_connections_do_not_hold_up_the_end(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin, sets={"drain_timeout": "1h"})
    idle = [lab.client(shield) for _ in range(5)]
    for client in idle[:3]:
        client.ask("/x")
    assert shield.stop() == 0
    assert all(client.at_end() for client in idle)


def test_term_waits_no_longer_than_the_drain_timeout(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"drain_timeout": "300ms"})
    client = lab.client(shield).request("/x")
    origin.expect("/x")
    assert shield.stop() == 0
    assert client.response().status != 200


def test_quit_drains_to_the_end_and_term_cuts_it_short(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"drain_timeout": "100ms"})
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    shield.send_signal(signal.SIGQUIT)
    until("it has stopped listening", lambda: refuses(shield.address))
    shield.wait_metric("flights", 1)
    held.send_head(200, FRESH, length=2).send(b"a")
    assert client.body(1) == b"a"
    held.send(b"b").finish()
    assert client.response().body == b"ab"
    assert shield.wait_exit() == 0


def test_readyz_turns_when_draining(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    assert shield.admin_get("/readyz")[0] == 200
    shield.send_signal(signal.SIGTERM)
    until("it says that it is not ready", lambda: shield.admin_get("/readyz")[0] == 503)
    assert shield.admin_get("/livez")[0] == 200
    held.respond(200, FRESH, b"x")
    assert client.response().body == b"x"
    assert shield.wait_exit() == 0


def test_a_second_term_ends_it_at_once(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"drain_timeout": "1h"})
    lab.client(shield).request("/x")
    origin.expect("/x")
    shield.send_signal(signal.SIGTERM)
    until("it has stopped listening", lambda: refuses(shield.address))
    shield.send_signal(signal.SIGTERM)
    assert shield.wait_exit() == 0


def test_a_broken_pipe_is_nothing(lab):
    origin = lab.origin().on_all(cacheable("x" * 100000))
    shield = lab.shield(origin)
    for _ in range(20):
        client = lab.client(shield).request("/x")
        client.reset()
    assert lab.ask(shield, "/x").status == 200
