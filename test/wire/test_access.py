"""Who may use the shield at all: edges.allow, edges.secret and hosts; and whose word about the client is passed on."""
import json
import os
import signal

import pytest

import real_edges
import real_nginx
from patience import until
from scripted_origin import Reply, cacheable
from shield_process import ROOT, run

FIELD = "Shield-Edge-Secret"
OLD, NEW = "the old secret", "0123456789abcdef0123456789abcdef"

# Addresses of the loopback that a client may come from.
EDGE, STRANGER = "127.0.0.1", "127.0.0.9"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "edges.secret"
    path.write_text(f"# to be rotated\n{OLD}\n\n  {NEW}  \n")
    path.chmod(0o600)
    return path


def ask_from(lab, shield, source, target="/x", method="GET", **kw):
    client = lab.client(shield, source=source)
    answer = client.ask(target, method, **kw)
    answer.at_end = client.at_end
    return answer


def is_refused(answer):
    return (answer.status == 403 and answer["Proxy-Status"] == "shield; error=http_request_denied"
            and answer["Cache-Control"] == "no-store" and answer["Connection"] == "close" and answer.at_end())


def reload(shield):
    mark = shield.log_mark()
    shield.send_signal(signal.SIGHUP)
    return shield.wait_log(r"reload: (done|refused)", since=mark).group(1)


# ---- edges.allow ----

def test_who_is_not_in_edges_allow_gets_403_and_is_closed(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("hello"))
    log = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"edges.allow": "127.0.0.1,10.0.0.0/8", "access_log": log})
    assert ask_from(lab, shield, EDGE).body == b"hello"
    assert is_refused(ask_from(lab, shield, STRANGER))  # a hit would be there
    assert is_refused(ask_from(lab, shield, STRANGER, "/y", "POST", body=b"abc"))
    assert is_refused(ask_from(lab, shield, STRANGER, "/x", "HEAD"))
    assert origin.count() == 1
    shield.wait_metric("requests_total", 3, result="refused")
    shield.wait_metric("refusals_total", 3, reason="edges.allow")
    until("four lines are there", lambda: log.read_text().count("\n") >= 4)
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["client"], last["status"], last["result"], last["reason"]) == (STRANGER, 403, "refused", "edges.allow")


def test_what_a_stranger_sends_besides_is_not_judged(lab):
    shield = lab.shield(lab.origin(), sets={"edges.allow": "10.0.0.0/8"})
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"):
        client = lab.client(shield).send(nonsense)
        assert client.response().status == 403 and client.at_end()
    client = lab.client(shield).send(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
    assert client.response().status == 403 and client.at_end()  # once
    client = lab.client(shield).request("/x", "POST", Content_Length=5, Expect="100-continue")
    assert client.response().status == 403 and client.at_end()  # not invited


def test_edges_allow_is_reloaded_also_for_open_connections(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("hello"))
    path = tmp_path / "shield.yaml"
    path.write_text("edges: { allow: [127.0.0.0/8] }\n")
    shield = lab.shield(origin, args=["-c", path])
    client = lab.client(shield, source=STRANGER)
    assert client.ask("/x").status == 200
    path.write_text("edges: { allow: [127.0.0.1] }\n")
    assert reload(shield) == "done"
    until("the worker has it", lambda: client.ask("/x").status == 403)
    assert client.at_end()
    assert ask_from(lab, shield, EDGE).status == 200


@pytest.mark.parametrize("allow, status", [("", 200), ("127.0.0.0/8", 403), ("127.0.0.1,unix:", 200)])
def test_a_unix_socket_is_an_address_of_its_own(lab, tmp_path, allow, status):
    where = tmp_path / "s"
    log = tmp_path / "access.log"
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")), listen=[f"unix:{where}"],
                        sets={"edges.allow": allow, "access_log": log} if allow else {"access_log": log})
    assert lab.client(str(where)).ask("/x").status == status
    until("a line is there", lambda: log.read_text().count("\n"))
    assert json.loads(log.read_text())["client"] == "unix:"


def test_ipv6_edges(lab):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")), listen=["[::1]:0", "127.0.0.1:0"],
                        sets={"edges.allow": "::1"})
    assert lab.client(shield.listen[0]).ask("/x").status == 200
    assert lab.client(shield.listen[1]).ask("/x").status == 403


# ---- edges.secret ----

def test_each_value_of_the_file_opens(lab, secret):
    origin = lab.origin().on("/x", cacheable("hello"))
    shield = lab.shield(origin, sets={"edges.secret": secret})
    for value in (OLD, NEW):
        assert lab.ask(shield, "/x", headers=[(FIELD, value)]).status == 200
    assert lab.ask(shield, "/x", headers=[(FIELD.upper(), f"  {NEW}\t")]).status == 200
    client = lab.client(shield)
    for _ in range(3):  # each request for itself
        assert client.ask("/x", headers=[(FIELD, NEW)]).status == 200
    assert client.ask("/x").status == 403 and client.at_end()


@pytest.mark.parametrize("fields", [
    [], [(FIELD, "")], [(FIELD, NEW[:-1])], [(FIELD, NEW + "0")], [(FIELD, NEW.upper())], [(FIELD, "# to be rotated")],
    [(FIELD, f"{OLD}, {NEW}")], [(FIELD, NEW), (FIELD, NEW)], [(FIELD, "x"), (FIELD, NEW)], [(FIELD, "a" * 5000)],
    [(FIELD, "\xe4")], [("X-" + FIELD, NEW)], [("Authorization", f"Bearer {NEW}")],
    [("Connection", FIELD), (FIELD, "x")],
])
def test_a_missing_or_wrong_secret_gets_403(lab, secret, fields):
    origin = lab.origin().on("/x", cacheable("hello"))
    shield = lab.shield(origin, sets={"edges.secret": secret})
    assert is_refused(ask_from(lab, shield, EDGE, headers=fields))
    assert origin.count() == 0
    shield.wait_metric("refusals_total", 1, reason="edges.secret")


def test_both_must_hold_where_both_are_set(lab, secret):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")),
                        sets={"edges.secret": secret, "edges.allow": EDGE})
    assert ask_from(lab, shield, EDGE, headers=[(FIELD, NEW)]).status == 200
    assert is_refused(ask_from(lab, shield, EDGE))
    assert is_refused(ask_from(lab, shield, STRANGER, headers=[(FIELD, NEW)]))


@pytest.mark.parametrize("method, target", [("GET", "/x"), ("GET", "/own"), ("POST", "/x"), ("OPTIONS", "*")])
@pytest.mark.parametrize("is_asked_for", [True, False])
def test_the_secret_goes_no_further(lab, secret, tmp_path, method, target, is_asked_for):
    origin = lab.origin().on_all(Reply("x", Cache_Control="private"))
    log = tmp_path / "access.log"
    sets = {"edges.secret": secret} if is_asked_for else {}
    shield = lab.shield(origin, sets={**sets, "access_log": log})
    for _ in range(2):  # the second of /own finds its key remembered as uncacheable
        answer = lab.ask(shield, target, method, headers=[(FIELD, NEW), ("X-Kept", "1")])
        assert answer.status == 200 and NEW.encode() not in answer.raw_head
    assert all(FIELD not in r and r.get("X-Kept") == "1" for r in origin.requests())
    until("two lines are there", lambda: log.read_text().count("\n") == 2)
    assert NEW not in log.read_text() + shield.log


def test_the_secret_is_no_part_of_key_vary_and_routes(lab, secret, tmp_path):
    path = tmp_path / "shield.yaml"
    path.write_text(f"edges: {{ secret: {secret} }}\n"
                    f"routes: [{{ match: {{ header: {{ {FIELD}: '*' }} }}, deny: on }},"
                    f" {{ key: {{ headers: [{FIELD}] }} }}]\n")
    origin = lab.origin().on("/x", cacheable("hello", Vary=f"{FIELD}, X-V"))
    shield = lab.shield(origin, args=["-c", path])
    assert lab.ask(shield, "/x", headers=[(FIELD, OLD)]).cache["fwd"] == "miss"
    assert lab.ask(shield, "/x", headers=[(FIELD, NEW)]).cache["hit"]


def test_another_field_and_an_explanation(lab, secret):
    origin = lab.origin().on("/x", cacheable("hello", Vary="X-Origin-Verify"))
    shield = lab.shield(origin, sets={"edges.secret": secret, "edges.secret_header": "X-Origin-Verify"})
    assert lab.ask(shield, "/x", X_Origin_Verify=OLD).status == 200
    assert lab.ask(shield, "/x", headers=[(FIELD, OLD)]).status == 403
    _, text, _ = shield.admin_get(f"/explain?url=http://edge.test/x&header=X-Origin-Verify:%20{NEW}")
    assert json.loads(text)["would"] == "hit"


def test_the_file_is_read_again_on_hup_all_or_nothing(lab, secret):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")), sets={"edges.secret": secret})

    def status(value):
        return lab.ask(shield, "/x", headers=[(FIELD, value)]).status

    secret.write_text(f"{NEW}\nnext\n")
    assert reload(shield) == "done"
    until("the worker has it", lambda: status("next") == 200)
    assert (status(NEW), status(OLD)) == (200, 403)
    for text, fault in ((f"good\n{'x' * 257}\n", ":2: "), ("#\n", "holds no token"), ("a\nb\n\x01\n", ":3: ")):
        secret.write_text(text)
        mark = shield.log_mark()
        shield.send_signal(signal.SIGHUP)
        assert fault in shield.wait_log(r"edges.secret\b.*", since=mark).string
        shield.wait_log("reload: refused", since=mark)
        assert (status("next"), status("good"), status("a")) == (200, 403, 403)
    secret.unlink()
    assert reload(shield) == "refused" and status("next") == 200


def test_a_bad_file_at_the_start(secret):
    at = ("--origin", "http://127.0.0.1:1", "--set", f"edges.secret={secret}")
    assert run(*at, "-t")[0] == 0
    for text, fault in (("a\nb\x7f\n", f"{secret}:2: "), ("", f"{secret}: holds no token"), (None, "cannot be read: No such")):
        secret.unlink() if text is None else secret.write_text(text)
        for mode in ([], ["-t"]):
            code, _, err = run(*at, *mode)
            assert code == 2 and fault in err and "edges.secret" in err


def test_a_warning_when_others_can_read_it_or_guess_it(lab, secret):
    secret.chmod(0o644)
    shield = lab.shield(lab.origin(), sets={"edges.secret": secret})
    shield.wait_log("every user of this host can read")
    shield.wait_log("fewer than 16 characters can be guessed")
    assert OLD not in shield.log


# ---- hosts ----

@pytest.mark.parametrize("host, status", [
    ("edge.test", 200), ("EDGE.Test:8080", 200), ("edge.test:", 200), ("[::1]:80", 200), ("other.test", 421),
    ("edge.test.", 421), ("edge.test.evil", 421), ("x.edge.test", 421), ("edge.test:8080.evil", 400), (None, 400),
])
def test_hosts(lab, host, status):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")), sets={"hosts": "edge.test,[::1]"})
    assert lab.ask(shield, "/x", host=host).status == status


@pytest.mark.parametrize("target, host, status", [
    ("http://edge.test/x", "other.test", 200), ("http://other.test/x", "edge.test", 421),
    ("http://edge.test:81/x", "edge.test", 200), ("*", "other.test", 421),
])
def test_the_host_of_the_target_counts(lab, target, host, status):
    origin = lab.origin().on_all(cacheable("hello"))
    shield = lab.shield(origin, sets={"hosts": "edge.test"})
    assert lab.ask(shield, target, "OPTIONS" if target == "*" else "GET", host=host).status == status


def test_http_1_0_without_a_host(lab):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")), sets={"hosts": "edge.test"})
    assert lab.ask(shield, "/x", host=None, version="1.0").status == 421
    assert lab.ask(shield, "/x", host="edge.test", version="1.0").status == 200


# ---- X-Forwarded-For ----

GIVEN = [("X-Forwarded-For", "192.0.2.1"), ("x-forwarded-for", "198.51.100.7")]


def forwarded_for(lab, origin, shield, source=None, method="GET", headers=(), target=None):
    target = target or f"/{origin.count()}"
    assert ask_from(lab, shield, source, target, method, headers=headers).status == 200
    return origin.requests()[-1].fields.all("X-Forwarded-For")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("route", ["{}", "{ cache: off }"])
def test_x_forwarded_for_of_trusted_edges_only(lab, tmp_path, method, route):
    origin = lab.origin().on_all(Reply("x", Cache_Control="max-age=60"))
    path = tmp_path / "shield.yaml"
    path.write_text(f"edges: {{ trusted: [127.0.0.9/32] }}\nroutes: [{route}]\n")
    shield = lab.shield(origin, args=["-c", path])
    for headers in (GIVEN, GIVEN[:1], [("X-Forwarded-For", "")], []):
        assert forwarded_for(lab, origin, shield, "127.0.0.1", method, headers) == ["127.0.0.1"]
        kept = [value for _, value in headers if value]
        assert forwarded_for(lab, origin, shield, "127.0.0.9", method, headers) == [", ".join(kept + ["127.0.0.9"])]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", ["X-Real-IP", "true-client-ip", "CF-Connecting-IP", "X_Forwarded_For", "X-Client_IP"])
def test_who_asked_is_heard_from_trusted_edges_only(lab, name, method):
    """By whatever name: an origin that believes one of them would believe whoever connects. Where only CGI would, not with a key."""
    origin = lab.origin().on_all(Reply("x", Cache_Control="max-age=60", Vary=name))
    shield = lab.shield(origin, sets={"edges.trusted": "127.0.0.9"})
    assert ask_from(lab, shield, "127.0.0.1", "/x", method, headers=[(name, "192.0.2.1")]).status == 200
    assert name not in origin.requests()[-1].fields
    assert ask_from(lab, shield, "127.0.0.1", "/x", headers=[(name, "192.0.2.2")]).cache.get("hit") == (True if method == "GET" else None)
    assert ask_from(lab, shield, "127.0.0.9", "/y", method, headers=[(name, "192.0.2.1")]).status == 200
    assert (name in origin.requests()[-1].fields) == (method == "POST" or name != "X_Forwarded_For")


@pytest.mark.parametrize("trusted, passed", [([], []), (["unix:"], ["192.0.2.1", "198.51.100.7"])])
def test_x_forwarded_for_over_a_unix_socket(lab, tmp_path, trusted, passed):
    origin = lab.origin().on_all(Reply("x", Cache_Control="max-age=60"))
    where = str(tmp_path / "s")
    shield = lab.shield(origin, listen=[f"unix:{where}"], sets={"edges.trusted": ",".join(trusted)} if trusted else None)
    assert lab.client(where).ask("/x", headers=GIVEN).status == 200
    assert origin.requests()[-1].fields.all("X-Forwarded-For") == passed


def test_what_is_not_passed_on_makes_no_variant(lab):
    origin = lab.origin().on("/x", cacheable("hello", Vary="X-Forwarded-For"))
    shield = lab.shield(origin, sets={"edges.trusted": "127.0.0.9"})
    assert ask_from(lab, shield, "127.0.0.1", headers=[("X-Forwarded-For", "192.0.2.1")]).cache["fwd"] == "miss"
    assert ask_from(lab, shield, "127.0.0.1", headers=[("X-Forwarded-For", "192.0.2.2")]).cache["hit"]
    _, text, _ = shield.admin_get("/explain?url=http://edge.test/x&header=X-Forwarded-For:%20192.0.2.3")
    assert json.loads(text)["would"] == "hit"
    assert ask_from(lab, shield, "127.0.0.9", headers=[("X-Forwarded-For", "192.0.2.1")]).cache["fwd"] != "hit"
    assert origin.count() == 2


# ---- purge.allow ----

def test_purge_is_not_for_everybody(lab):
    shield = lab.shield(lab.origin().on("/x", cacheable("hello")), sets={"purge.allow": "10.0.0.0/8"})
    assert lab.ask(shield, "/x", "PURGE").status == 405


# ---- the PROXY protocol ----

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET_X = b"GET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 80\r\n"


def v2(command=0x21, family=0x11, block=b"\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x00\x50", tlvs=b""):
    return SIGNATURE + bytes((command, family)) + (len(block) + len(tlvs)).to_bytes(2, "big") + block + tlvs


SIX = bytes.fromhex("20010db8000000000000000000000007") * 2 + b"\0\1\0\2"

# What comes before the request, and who the client is then.
GREETINGS = {
    "v1": (V1, "192.0.2.1"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", "2001:db8::7"),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"),
    "v1 unknown": (b"PROXY UNKNOWN 192.0.2.1 10.0.0.1 1 2\r\n", "127.0.0.1"),
    "v2": (v2(), "192.0.2.1"),
    "v2 IPv6": (v2(family=0x21, block=SIX), "2001:db8::7"),
    "v2 local": (v2(0x20), "127.0.0.1"),
    "v2 local without a block": (v2(0x20, 0, b""), "127.0.0.1"),
    "v2 unspecified": (v2(0x21, 0, b""), "127.0.0.1"),
    "v2 Unix": (v2(family=0x31, block=bytes(216)), "127.0.0.1"),
    "v2 with more": (v2(tlvs=b"\x01\0\x08http/1.1\x02\0\x09edge.test"), "192.0.2.1"),
    "v2 as long as may be": (v2(tlvs=b"\x04\x03\xe1" + bytes(993)), "192.0.2.1"),
}


@pytest.fixture
def behind(lab, tmp_path):
    """A shield behind a proxy at 127.0.0.1, and none elsewhere."""
    origin = lab.origin().on_all(Reply("hello", Cache_Control="private"))
    log = tmp_path / "access.log"
    shield = lab.shield(origin, sets={"edges.proxy_protocol": "127.0.0.1", "access_log": log})
    shield.origin = origin
    shield.access_log = log
    return shield


def clients_of(shield, n):
    until(f"{n} lines are there", lambda: shield.access_log.read_text().count("\n") >= n)
    return [json.loads(line)["client"] for line in shield.access_log.read_text().splitlines()]


@pytest.mark.parametrize("greeting", GREETINGS)
def test_the_header_says_who_the_client_is(lab, behind, greeting):
    header, address = GREETINGS[greeting]
    client = lab.client(behind).send(header + GET_X)
    assert client.response().body == b"hello"
    assert client.ask("/y").status == 200  # once for a connection
    assert clients_of(behind, 2) == [address, address]
    assert [r.get("X-Forwarded-For") for r in behind.origin.requests()] == [address, address]


@pytest.mark.parametrize("greeting", ["v1", "v2 with more"])
def test_the_header_comes_in_pieces(lab, behind, greeting):
    header, address = GREETINGS[greeting]
    for cut in range(1, len(header) + 1):
        client = lab.client(behind).send(header[:cut])
        behind.wait_metric("client_connections", 1)
        assert client.send(header[cut:] + GET_X).response().status == 200
        client.close()
        behind.wait_metric("client_connections", 0)
    client = lab.client(behind)
    for byte in header + GET_X:
        client.send(bytes((byte,)))
    assert client.response().status == 200
    assert set(clients_of(behind, len(header) + 1)) == {address}


WRONG = {
    "plain HTTP": GET_X,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "small letters": b"proxy tcp4 192.0.2.1 10.0.0.1 1 2\r\n" + GET_X,
    "an empty line before": b"\r\n" + V1 + GET_X,
    "a bare LF": V1.replace(b"\r\n", b"\n") + GET_X,
    "a bare CR": V1.replace(b"\r\n", b"\r") + GET_X,
    "two blanks": V1.replace(b" ", b"  ") + GET_X,
    "no line end": b"PROXY TCP4 " + b"1" * 200,
    "the wrong family": V1.replace(b"TCP4", b"TCP6") + GET_X,
    "a leading zero": V1.replace(b"192.0.2.1", b"192.0.2.01") + GET_X,
    "a port too large": V1.replace(b"56324", b"65536") + GET_X,
    "no ports": b"PROXY TCP4 192.0.2.1 10.0.0.1\r\n" + GET_X,
    "version 3": v2(0x31) + GET_X,
    "another command": v2(0x22) + GET_X,
    "another family": v2(family=0x51) + GET_X,
    "another protocol": v2(family=0x13) + GET_X,
    "a short block": v2(block=b"\xc0\x00\x02\x01") + GET_X,
    "a TLV beyond the end": v2(tlvs=b"\x04\0\x09abc") + GET_X,
    "a wrong checksum": v2(tlvs=b"\x03\0\x04abcd") + GET_X,
    "a broken signature": SIGNATURE[:-1] + b"\r" + GET_X,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_header_closes_without_a_word(lab, behind, wrong):
    client = lab.client(behind).send(WRONG[wrong])
    assert client.at_end()
    assert lab.client(behind).send(WRONG[wrong]).at_end()
    assert behind.wait_log("127.0.0.1 sent no good PROXY header") and behind.log.count("sent no good") == 1
    behind.wait_metric("proxy_headers_refused_total", 2)
    assert behind.origin.count() == 0 and behind.metric("requests_total") == 0
    assert lab.client(behind).send(V1 + GET_X).response().status == 200


def test_a_header_that_ends_early(lab, behind):
    client = lab.client(behind).send(V1[:-1])
    client.half_close()
    assert client.at_end()
    behind.wait_metric("proxy_headers_refused_total", 1)
    client = lab.client(behind)
    client.close()  # as a check of the port does
    behind.wait_metric("client_connections_total", 2)
    behind.wait_metric("client_connections", 0)
    assert behind.metric("proxy_headers_refused_total") == 1


def test_who_is_gone_when_accepted_is_nobody(lab, behind):
    for i in range(20):
        lab.client(behind).send(v2(0x20)).reset()
        behind.wait_metric("client_connections_total", i + 1)
    behind.wait_metric("client_connections", 0)
    assert behind.metric("proxy_headers_refused_total") == behind.metric("requests_total") == 0


@pytest.mark.parametrize("begun", [b"", b"P", V1[:-1], SIGNATURE + b"\x21\x11\0\x0c1234"])
def test_a_header_that_does_not_come(lab, begun):
    shield = lab.shield(lab.origin(), sets={"edges.proxy_protocol": "127.0.0.1", "client.head_timeout": "100ms"})
    assert lab.client(shield).send(begun).at_end()
    assert shield.metric("limit_reached_total", limit="client.head_timeout") == 1
    assert shield.metric("proxy_headers_refused_total") == 1


def test_a_header_that_is_too_long(lab, behind):
    assert lab.client(behind).send(v2(tlvs=b"\x04\x03\xe2" + bytes(994)) + GET_X).at_end()
    assert lab.client(behind).send(SIGNATURE + b"\x20\x00\xff\xff").at_end()
    behind.wait_metric("limit_reached_total", 2, limit="client.max_proxy_header")
    behind.wait_metric("proxy_headers_refused_total", 2)


@pytest.mark.parametrize("header", [V1, v2()])
def test_nobody_else_is_believed(lab, behind, header):
    client = lab.client(behind, source="127.0.0.9").send(header + GET_X)
    answer = client.response()
    assert answer.status == 400 and client.at_end()
    assert ask_from(lab, behind, "127.0.0.9").status == 200
    assert clients_of(behind, 2) == ["127.0.0.9", "127.0.0.9"] and behind.origin.count() == 1


def test_a_second_header_is_no_request(lab, behind):
    client = lab.client(behind).send(V1 + V1.replace(b"192", b"193") + GET_X)
    assert client.response().status == 400 and client.at_end()
    assert behind.origin.count() == 0


def test_lists_go_by_what_the_header_says(lab):
    origin = lab.origin().on_all(Reply("hello", Cache_Control="private"))
    shield = lab.shield(origin, sets={"edges.proxy_protocol": "127.0.0.1", "edges.allow": "192.0.2.0/24,127.0.0.9",
                                      "edges.trusted": "192.0.2.1"})
    request = GET_X.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n")
    assert lab.client(shield).send(V1 + request).response().status == 200
    assert lab.client(shield).send(V1.replace(b"192.0.2.1", b"192.0.2.2") + request).response().status == 200
    assert [r.get("X-Forwarded-For") for r in origin.requests()] == ["203.0.113.5, 192.0.2.1", "192.0.2.2"]
    assert lab.client(shield).send(V1.replace(b"192.0.2.1", b"192.0.3.1") + request).response().status == 403
    assert lab.client(shield).send(v2(0x20) + request).response().status == 403  # the proxy itself is not allowed
    assert ask_from(lab, shield, "127.0.0.9").status == 200


def test_a_proxy_on_a_unix_socket(lab, tmp_path):
    origin = lab.origin().on_all(Reply("hello", Cache_Control="private"))
    where = str(tmp_path / "s")
    shield = lab.shield(origin, listen=[f"unix:{where}"], sets={"edges.proxy_protocol": "unix:"})
    assert lab.client(where).send(V1 + GET_X).response().status == 200
    assert origin.requests()[0].get("X-Forwarded-For") == "192.0.2.1"
    assert lab.client(where).send(GET_X).at_end()


def test_draining_does_not_wait_for_a_header(lab, behind):
    client = lab.client(behind).send(V1[:5])
    behind.wait_metric("client_connections", 1)
    behind.send_signal(signal.SIGTERM)
    assert client.at_end() and behind.wait_exit() == 0


class HAProxy(real_edges.HAProxy):
    """In TCP mode: it says who the client is, and looks after the shield's health in the same way."""

    def files(self):
        return {"haproxy.cfg": """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen shield
    bind 127.0.0.1:{port}
    server shield {shield_host}:{shield_port} %s check inter 50ms
""" % self.sends}


class SendsV1(HAProxy):
    sends = "send-proxy"


class SendsV2(HAProxy):
    sends = "send-proxy-v2"


class SendsMore(HAProxy):
    sends = "send-proxy-v2 proxy-v2-options crc32c,unique-id"


@pytest.mark.parametrize("kind", [SendsV1, SendsV2, SendsMore])
def test_behind_haproxy(lab, behind, kind):
    proxy = lab.keep(lab.nginxes, kind(behind.address))
    for source in ("127.0.0.5", "127.0.0.6"):
        client = lab.client(proxy.address, source=source)
        assert client.ask("/x").body == b"hello" and client.ask("/y").body == b"hello"
    assert clients_of(behind, 4) == ["127.0.0.5"] * 2 + ["127.0.0.6"] * 2
    checks = behind.metric("client_connections_total")
    behind.wait_metric("client_connections_total", lambda n: n >= checks + 3)
    assert behind.metric("proxy_headers_refused_total") == 0


# ---- the admin port's tokens ----

def test_another_token_file_is_in_force_at_the_first_hup(lab, tmp_path):
    token = "0123456789abcdef"
    tokens, config = tmp_path / "tokens", tmp_path / "shield.yaml"
    tokens.write_text(f"{token}\n")
    tokens.chmod(0o600)
    config.write_text("admin: {}\n")
    shield = lab.shield(lab.origin(), args=["-c", config])

    def ask_admin(*headers):
        client = lab.client(shield.admin)
        return client.ask("/stats", host="localhost", headers=headers).status

    bearer = ("Authorization", f"Bearer {token}")
    assert ask_admin() == 200
    config.write_text(f"admin: {{ token_file: {tokens} }}\n")
    assert reload(shield) == "done" and (ask_admin(), ask_admin(bearer)) == (401, 200)
    config.write_text(f"admin: {{ token_file: {tmp_path}/none }}\n")
    mark = shield.log_mark()
    assert reload(shield) == "refused" and (ask_admin(), ask_admin(bearer)) == (401, 200)
    assert shield.wait_log(r"none: cannot be read: No such file or directory; see admin.token_file", since=mark)
    config.write_text("admin: {}\n")
    assert reload(shield) == "done" and ask_admin() == 200


# ---- the example ----

def test_the_nginx_example_brings_the_secret_and_the_client(lab, secret, tmp_path):
    """deploy/nginx-edge.conf, with its ports and paths for here and its secret given."""
    origin = lab.origin().on_all(cacheable("hello"))
    shield = lab.shield(origin, sets={"edges.secret": secret, "edges.trusted": "127.0.0.1"})
    with open(os.path.join(ROOT, "deploy", "nginx-edge.conf"), encoding="utf-8") as f:
        text = f.read().replace("{", "{{").replace("}", "}}")
    for there, here in (("127.0.0.1:8080", "%s:%d" % shield.address), ("listen 80;", "listen 127.0.0.1:{port};"),
                        ("/var/cache/nginx/edge", "{root}/cache"),
                        ('# proxy_set_header Shield-Edge-Secret "0123456789abcdef..."',
                         f'proxy_set_header Shield-Edge-Secret "{NEW}"')):
        assert there in text
        text = text.replace(there, here)
    edge = lab.keep(lab.nginxes, real_nginx.Nginx(tmp_path / "edge", text))
    client = lab.client(edge.address, source="127.0.0.5")
    assert client.ask("/x", headers=[(FIELD, "a client's own")]).body == b"hello"
    assert origin.requests()[0].get("X-Forwarded-For") == "127.0.0.5, 127.0.0.1" and FIELD not in origin.requests()[0]


# ---- when the shield is full ----

@pytest.mark.parametrize("sets, status", [({}, 503), ({"edges.allow": "127.0.0.9,127.0.0.1"}, 503),
                                          ({"edges.allow": "127.0.0.9"}, 403), ({"edges.proxy_protocol": "127.0.0.1"}, None)])
def test_a_full_shield_says_so_to_those_who_may_ask(lab, sets, status):
    origin = lab.origin()
    shield = lab.shield(origin, sets={**sets, "client.max_connections": "1"})
    busy = lab.client(shield, source=STRANGER).request("/x")
    held = origin.expect("/x")
    if status is not None:
        client = lab.client(shield)
        assert client.response().status == status and client.at_end()
    else: # without a word, perhaps before connect() is through
        try:
            assert lab.client(shield).at_end()
        except ConnectionResetError:
            pass
    held.respond(200, {}, b"x")
    assert busy.response().body == b"x"
