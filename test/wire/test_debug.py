"""Why? One reason for each miss, pass and refusal: in the access log, the metrics and, with a debug token, the answer."""
import json
import signal

import pytest

from patience import until
from scripted_origin import Reply, cacheable
from shield_process import run

TOKEN = "debug-token-0123456789"
WITH = {"Shield-Debug": TOKEN}


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "debug.tokens"
    path.write_text(f"# ours\n{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def debugged(lab, tokens):
    origin = lab.origin().on("/x", cacheable("hello"))
    shield = lab.shield(origin, sets={"debug.token_file": tokens})
    shield.origin = origin
    return shield


# ---- the token ----

def test_with_a_token_the_answer_tells_key_and_reason(lab, debugged):
    miss = lab.ask(debugged, "/x", headers=WITH.items())
    assert miss.cache_status == 'shield; fwd=miss; fwd-status=200; ttl=60; stored; key="//edge.test/x"; detail=absent'
    hit = lab.ask(debugged, "/x", headers=WITH.items())
    assert hit.cache["hit"] and hit.cache["key"] == '"//edge.test/x"' and "detail" not in hit.cache


@pytest.mark.parametrize("fields", [
    [], [("Shield-Debug", "debug-token-0123456788")], [("Shield-Debug", "")], [("Shield-Debug", f"Bearer {TOKEN}")],
    [("Shield-Debug", TOKEN), ("Shield-Debug", TOKEN)], [("Shield-Debug", TOKEN + "0")],
])
def test_without_a_good_token_nothing_changes(lab, debugged, fields):
    assert lab.ask(debugged, "/x", headers=fields).cache_status == "shield; fwd=miss; stored"


def test_without_a_token_file_no_token_is_good(lab):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")))
    assert lab.ask(shield, "/x", headers=WITH.items()).cache_status == "shield; fwd=miss; stored"


@pytest.mark.parametrize("method, target", [("GET", "/x"), ("GET", "/own"), ("POST", "/x")])
@pytest.mark.parametrize("token", [TOKEN, "wrong-token-0123456789"])
def test_the_field_never_goes_upstream(lab, debugged, method, target, token):
    debugged.origin.on_all(Reply("x", Cache_Control="private"))
    for _ in range(2):  # the second of /own finds its key remembered as uncacheable
        lab.ask(debugged, target, method, headers=[("Shield-Debug", token), ("X-Kept", "1")])
    assert all("Shield-Debug" not in r for r in debugged.origin.requests())
    assert all(r.get("X-Kept") == "1" for r in debugged.origin.requests())


def test_the_field_makes_no_variants(lab, debugged):
    debugged.origin.on("/v", cacheable("hello", Vary="Shield-Debug, X-V"))
    lab.ask(debugged, "/v", headers=WITH.items())
    assert lab.ask(debugged, "/v").cache["hit"]
    assert lab.ask(debugged, "/v", headers=[("Shield-Debug", "another")]).cache["hit"]


def test_the_key_is_escaped(lab, debugged):
    debugged.origin.on_all(cacheable("hello"))
    answer = lab.ask(debugged, '/a?q="\\%22', headers=WITH.items())
    assert r'key="//edge.test/a?q=\"\\%22"' in answer.cache_status


def test_hup_reads_the_tokens_again_and_keeps_them_when_the_file_is_bad(lab, debugged, tokens):
    def is_told(token):
        return "key" in lab.ask(debugged, "/x", headers=[("Shield-Debug", token)]).cache

    tokens.write_text("another-token-0123456789\n")
    assert debugged.admin_get("/livez")[0] == 200  # ThreadSanitizer loses a signal that comes before the loop's first turn
    debugged.send_signal(signal.SIGHUP)
    debugged.wait_log("reload: done")
    until("all workers have it", lambda: is_told("another-token-0123456789"))
    assert not is_told(TOKEN)
    mark = debugged.log_mark()
    tokens.write_text("# nothing\nshort\n")
    debugged.send_signal(signal.SIGHUP)
    debugged.wait_log(r"debug\.tokens:2: the token is too short", since=mark)
    debugged.wait_log("reload: refused", since=mark)
    assert is_told("another-token-0123456789") and not is_told(TOKEN)


@pytest.mark.parametrize("text, fault", [("short\n", ":1: the token is too short"), ("", "holds no token"),
                                         (None, "cannot be read")])
def test_a_bad_file_is_an_error_at_the_start(tmp_path, text, fault):
    path = tmp_path / "debug.tokens"
    if text is not None:
        path.write_text(text)
    for args in ((), ("-t",)):
        code, _, err = run("--origin", "http://127.0.0.1:1", "--set", f"debug.token_file={path}", *args)
        assert code == 2 and str(path) in err and fault in err


# ---- the reasons ----

def reasons_of(path, n):
    until(f"{n} lines are there", lambda: path.read_text().count("\n") >= n)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_miss_pass_and_refusal_has_its_reason(lab, tokens, tmp_path):
    origin = lab.origin().on_all(cacheable("hello"))
    origin.on("/own", Reply("x", Cache_Control="private")).on("/v", cacheable("hello", Vary="X-V"))
    origin.on("/checked", Reply("x", Cache_Control="no-cache", ETag='"1"'))
    path = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"access_log": path, "debug.token_file": tokens, "hosts": "edge.test",
                                      "node.name": "a"})
    asked = []

    def ask(metric, reason, target, method="GET", headers=(), **kw):
        before = shield.metric(metric, reason=reason) if metric else 0
        answer = lab.ask(shield, target, method, headers=list(headers) + list(WITH.items()), **kw)
        asked.append(reason)
        if metric == "refusals_total":
            assert f'; details="{reason}"' in answer["Proxy-Status"]
        elif reason is None:
            assert "detail" not in answer.cache
        else:
            assert answer.cache["detail"] == reason, answer.cache_status
        if metric:
            shield.wait_metric(metric, before + 1, reason=reason)

    ask("misses_total", "absent", "/x")
    ask(None, None, "/x")
    ask("misses_total", "absent", "/v", X_V="1")
    ask("misses_total", "vary", "/v", X_V="2")
    ask("misses_total", "absent", "/checked")
    ask("misses_total", "no_cache", "/checked")
    ask("misses_total", "absent", "/own")
    ask("passes_total", "uncacheable", "/own")
    ask("passes_total", "method", "/x", "POST", body=b"x")
    ask("passes_total", "content", "/x", body=b"x")
    ask("passes_total", "authorization", "/x2", Authorization="Basic eDp5")
    ask("passes_total", "condition", "/x2", headers=[("If-Match", '"1"')])
    ask("refusals_total", "misdirected", "/x", host="other.test")
    ask("refusals_total", "loop", "/x", headers=[("CDN-Loop", "shield-a")])
    ask("refusals_total", "method", "/x", "PURGE")
    lines = reasons_of(path, len(asked))
    assert [line.get("reason") for line in lines] == asked
    assert shield.metric("misses_total", reason="authorization") == shield.metric("misses_total", reason="condition") == 1


def test_a_request_that_cannot_be_read_is_a_refusal(lab):
    shield = lab.shield(lab.origin())
    client = lab.client(shield)
    assert client.send(b"GET / HTTP/1.1\r\n\r\n").response().status == 400
    shield.wait_metric("refusals_total", 1, reason="bad_request")


def test_a_bound_is_a_refusal_by_its_name(lab, tokens):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"flight.max_flights": 1, "debug.token_file": tokens})
    waiting = lab.client(shield).request("/a")
    held = origin.expect("/a")
    answer = lab.ask(shield, "/b", headers=WITH.items())
    assert answer.status == 503 and 'details="flight.max_flights"' in answer["Proxy-Status"]
    assert shield.metric("refusals_total", reason="flight.max_flights") == 1
    held.respond(200, {"Cache-Control": "max-age=60"}, b"x")
    assert waiting.response().status == 200


def test_a_range_of_what_is_not_kept_is_a_pass(lab, tokens):
    origin = lab.origin().on_all(cacheable(b"z" * 200_000))
    shield = lab.shield(origin, sets={"store.object_max": "64k", "debug.token_file": tokens})
    lab.ask(shield, "/x")
    answer = lab.ask(shield, "/x", headers=WITH.items(), Range="bytes=0-9")
    assert answer.cache["detail"] == "range"
    assert shield.metric("passes_total", reason="range") == 1
