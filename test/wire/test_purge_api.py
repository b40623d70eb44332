"""Purges over the admin port: how they are written, what is refused and why, who may, and what is told and logged."""
import http.client
import json
import signal
import socket

import pytest

from patience import PATIENCE_S


class Caller:
    """Somebody at the admin port, on one connection."""

    def __init__(self, shield, **fields):
        self.connection = http.client.HTTPConnection(*shield.admin, timeout=PATIENCE_S)
        self.fields = {k.replace("_", "-"): v for k, v in fields.items()}

    def send(self, method, path, body=None, **fields):
        """(status, JSON, fields) of the answer."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        fields = {k.replace("_", "-"): v for k, v in fields.items()}
        self.connection.request(method, path, body, {**self.fields, **fields})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.headers["Content-Type"] == "application/json", text
        return answer.status, json.loads(text), answer.headers

    def purge(self, body, **fields):
        return self.send("POST", "/purge", body, **fields)[:2]


@pytest.fixture
def caller(lab):
    shield = lab.shield(lab.origin())
    caller = Caller(shield)
    caller.shield = shield
    yield caller
    caller.connection.close()


# ---- our JSON

def test_an_order_gets_a_number(caller):
    orders = [{"urls": ["http://a/x"]}, {"prefixes": ["http://a/x/", "a/y"]}, {"tags": ["v42"]}, {"hosts": ["a:81"]}, {"all": True},
              {"urls": [], "prefixes": [], "tags": ["t"], "hosts": [], "all": False, "soft": True},
              {"all": True, "over": "10m"}]
    numbers = []
    for order in orders:
        status, said = caller.purge(order)
        assert (status, said["durable"], set(said)) == (200, True, {"purge", "durable"}), said
        numbers.append(said["purge"])
    assert numbers == sorted(set(numbers)) and numbers[0] > 0


def test_a_reference_makes_it_one_order(caller):
    order = {"tags": ["a"], "reference": "deploy 42"}
    first = caller.purge(order)
    other = caller.purge({"tags": ["a"]})
    again = caller.purge(order)
    assert first[1]["purge"] < other[1]["purge"]
    assert again == (200, {"purge": first[1]["purge"], "durable": True, "repeated": True})
    for key in ('"deploy 42"', "deploy 42"):  # a structured string, and a bare one
        assert caller.purge({"tags": ["b"]}, Idempotency_Key=key)[1] == again[1]
    assert caller.purge(order, Idempotency_Key='"deploy 42"')[1] == again[1]
    assert caller.shield.metric("purges_total", kind="tag") == 2
    status, said = caller.purge(order, Idempotency_Key='"deploy 43"')
    assert status == 400 and "differ" in said["error"]
    assert caller.purge({"tags": ["b"]}, Idempotency_Key="")[0] == 400


@pytest.mark.parametrize("body, told", [
    ("", "no content"), ("{", "line 1, column"), ("[]", "write an object"), ("{}", "nothing to purge"),
    ('{"all":false}', "nothing to purge"), ('{"urls":["/x"]}', "urls[0]: '/x' is no absolute URL; write http://HOST/PATH"),
    ('{"urls":["http://a/","x"]}', "urls[1]"), ('{"url":["http://a/"]}', "'url' is not known; there are urls"),
    ('{"tags":"t"}', "tags: a string; write a list"), ('{"tags":[1]}', "tags[0]: a number"), ('{"all":1}', "all: a number"),
    ('{"all":true,"all":false}', "duplicate"), ('{"all":true,"over":"soon"}', "over: write"),
    ('{"hosts":["*.a"]}', "hosts[0]"), ('{"prefixes":["a/*"]}', "leave out a star"), ('{"tags":["\\ud800"]}', "no JSON"),
    ('{"tags":["' + "[" * 5000 + '"]}', None), ("[" * 100000, "no JSON"), (b"\xff\xfe", "no JSON"),
])
def test_what_cannot_be_read_purges_nothing_and_says_why(caller, body, told):
    before = caller.purge({"tags": ["t"]})[1]["purge"]
    status, said = caller.purge(body)
    if told is not None:
        assert status == 400 and list(said) == ["error"] and told in said["error"], said
        assert caller.purge({"tags": ["t"]})[1]["purge"] == before + 1
    else:
        assert status == 200


def test_other_methods_and_fields(caller):
    status, said, fields = caller.send("GET", "/purge")
    assert (status, fields["Allow"]) == (405, "POST") and "error" in said
    assert caller.send("PUT", "/purge", {"all": True})[0] == 405
    assert caller.purge('{"all":true}', Content_Type="text/plain")[0] == 200
    assert caller.send("POST", "/purge?x=y", {"all": True})[0] == 200


# ---- bounds

def test_a_call_has_bounds(lab):
    shield = lab.shield(lab.origin(), sets={"purge.max_items": 3, "purge.max_item_bytes": "20", "admin.max_content": "2k"})
    caller = Caller(shield)
    assert caller.purge({"tags": ["a", "b"], "hosts": ["c"]})[0] == 200
    status, said = caller.purge({"tags": ["a", "b"], "hosts": ["c", "d"]})
    assert status == 413 and "purge.max_items" in said["error"]
    assert caller.purge({"tags": ["x" * 20]})[0] == 200
    status, said = caller.purge({"tags": ["x" * 21]})
    assert status == 413 and "purge.max_item_bytes" in said["error"]
    status, said = caller.purge('{"all":true}' + " " * 2048)
    assert status == 413 and "admin.max_content" in said["error"]
    chunked = caller.send("POST", "/purge", iter([b'{"all":true', b" " * 3000, b"}"]))
    assert chunked[0] == 413
    for limit in ("purge.max_items", "purge.max_item_bytes"):
        assert shield.metric("limit_reached_total", limit=limit) == 1, limit
    assert shield.metric("limit_reached_total", limit="admin.max_content") == 2
    assert caller.purge('{"all":true}' + " " * 2036)[0] == 200


# ---- the connection

def raw(shield, *parts):
    """All answers to these bytes, sent one part after the other, until the shield closes."""
    with socket.create_connection(shield.admin, timeout=PATIENCE_S) as s:
        for part in parts:
            s.sendall(part)
        s.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: s.recv(65536), b""))


def request(body, *fields, length=True):
    lines = ["POST /purge HTTP/1.1", "Host: localhost", *fields] + ([f"Content-Length: {len(body)}"] if length else [])
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_content_may_come_in_any_pieces(caller):
    body = b'{"tags":["a"]}'
    whole = request(body)
    with socket.create_connection(caller.shield.admin, timeout=PATIENCE_S) as s:
        for i in range(len(whole)):
            s.sendall(whole[i:i + 1])
        assert s.recv(1000).startswith(b"HTTP/1.1 200")
        s.sendall(request(b"7\r\n" + body[:7] + b"\r\n7\r\n" + body[7:] + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=False))
        assert s.recv(1000).startswith(b"HTTP/1.1 200")
        s.sendall(request(body) + request(body) + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" + request(b"{}"))
        got = b""
        while got.count(b"HTTP/1.1 ") < 4 or not got.endswith(b"}\n"):
            got += s.recv(65536)
        assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"400"]


def test_content_is_invited(caller):
    body = b'{"tags":["a"]}'
    head, _, _ = request(body, "Expect: 100-continue").partition(b"\r\n\r\n")
    with socket.create_connection(caller.shield.admin, timeout=PATIENCE_S) as s:
        s.sendall(head + b"\r\n\r\n")
        assert s.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        assert s.recv(1000).startswith(b"HTTP/1.1 200")


def test_broken_content_is_refused(caller):
    shield = caller.shield
    assert raw(shield, request(b"x\r\n", "Transfer-Encoding: chunked", length=False)).startswith(b"HTTP/1.1 400")
    assert raw(shield, request(b"{}", "Content-Length: 3")).startswith(b"HTTP/1.1 400")
    assert raw(shield, request(b'{"all":true}')[:-1]) == b""  # it ends within its content: no order
    assert caller.purge({"all": True})[1]["purge"] == 1


def test_no_page_in_a_browser_can_order(caller):
    for origin in ("http://evil.test", "null", "http://127.0.0.1"):
        status, said = caller.purge({"all": True}, Origin=origin)
        assert status == 403 and "browser" in said["error"]


# ---- tokens

KEYS = {name: f"{name.replace(':', '-')}-token-0123456789" for name in
        ("everything", "read", "purge:url", "purge:tag", "purge:all", "config", "both")}
TOKEN_FILE = f"""# who may do what
{KEYS["everything"]}
{KEYS["read"]} read name=grafana
{KEYS["purge:url"]} purge:url
{KEYS["purge:tag"]} purge:tag name=cms
{KEYS["purge:all"]} purge:all
{KEYS["config"]} config
{KEYS["both"]} read,purge:tag
"""


@pytest.fixture
def guarded(lab, tmp_path):
    path = tmp_path / "tokens"
    path.write_text(TOKEN_FILE)
    path.chmod(0o600)
    shield = lab.shield(lab.origin(), sets={"admin.token_file": path})
    shield.token_file = path
    shield.check_end = lambda: []  # it reads the metrics without a token
    yield shield
    assert shield.stop() == 0


def status_of(shield, method, path, body=None, **fields):
    connection = http.client.HTTPConnection(*shield.admin, timeout=PATIENCE_S)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {k.replace("_", "-"): v for k, v in fields.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("WWW-Authenticate")
    finally:
        connection.close()


ORDERS = {"purge:url": [{"urls": ["http://a/"]}], "purge:tag": [{"tags": ["t"]}],
          "purge:all": [{"all": True}, {"hosts": ["a"]}, {"prefixes": ["a/"]}, {"tags": ["t"], "all": True}]}


def test_a_token_does_what_its_scopes_say(guarded):
    for name, token in KEYS.items():
        scopes = {"everything": set(KEYS), "both": {"read", "purge:tag"}}.get(name, {name})
        bearer = {"Authorization": f"Bearer {token}"}
        for page in ("/metrics", "/stats", "/flights", "/explain?url=http://a/"):
            assert status_of(guarded, "GET", page, **bearer)[0] == (200 if "read" in scopes else 403), (name, page)
        for scope, orders in ORDERS.items():
            for order in orders:
                got, challenge = status_of(guarded, "POST", "/purge", order, **bearer)
                assert got == (200 if scopes & {scope, "purge:all"} else 403), (name, order)
                if got == 403:
                    assert challenge.startswith('Bearer error="insufficient_scope", scope="purge:')
        for page in ("/livez", "/readyz", "/healthz"):
            assert status_of(guarded, "GET", page, **bearer)[0] == 200


def test_without_the_right_token(guarded):
    for page in ("/livez", "/readyz", "/healthz"):
        assert status_of(guarded, "GET", page)[0] == 200
    for method, path in (("GET", "/metrics"), ("POST", "/purge"), ("POST", "/service/s/purge_all"), ("POST", ZONE), ("GET", "/nowhere")):
        assert status_of(guarded, method, path) == (401, "Bearer")
        for wrong in ("Bearer wrong-token-0123456789", f"Bearer {KEYS['everything']}x", f"Bearer {KEYS['everything'][:-1]}"):
            assert status_of(guarded, method, path, Authorization=wrong) == (401, 'Bearer error="invalid_token"')
    assert "purge: number" not in guarded.log


def test_each_dialect_has_its_field(guarded):
    key = KEYS["purge:all"]
    assert status_of(guarded, "POST", "/service/s/purge_all", Fastly_Key=key)[0] == 200
    assert status_of(guarded, "POST", ZONE, {"purge_everything": True}, X_Auth_Email="me@example.com", X_Auth_Key=key)[0] == 200
    for path in ("/service/s/purge_all", "/purge/a/x"):
        assert status_of(guarded, "POST", path, Authorization=f"Bearer {key}")[0] == 200
    assert status_of(guarded, "POST", ZONE, {"purge_everything": True}, Authorization=f"Bearer {key}")[0] == 200
    assert status_of(guarded, "POST", "/service/s/purge_all", X_Auth_Key=key)[0] == 401
    assert status_of(guarded, "POST", "/purge", {"all": True}, Fastly_Key=key)[0] == 401
    assert status_of(guarded, "GET", "/metrics", Fastly_Key=KEYS["read"])[0] == 401
    assert status_of(guarded, "POST", "/service/s/purge_all", Fastly_Key=KEYS["purge:tag"])[0] == 403


def test_errors_of_the_door_speak_the_dialect(guarded):
    caller = Caller(guarded)
    assert caller.send("POST", ZONE)[1]["errors"][0]["code"] == 10000
    assert "token" in caller.send("POST", "/service/s/purge_all")[1]["msg"]
    status, said, _ = caller.send("POST", "/purge", {"all": True}, Authorization=f"Bearer {KEYS['purge:tag']}")
    assert (status, said) == (403, {"error": "the token lacks the scope purge:all; see admin.token_file"})
    assert caller.send("POST", "/purge", {"all": True}, Authorization=f"Bearer {KEYS['read']}")[0] == 403
    caller.connection.close()


def test_the_log_names_the_token_and_never_shows_it(guarded):
    status_of(guarded, "POST", "/purge", {"tags": ["t"]}, Authorization=f"Bearer {KEYS['purge:tag']}")
    guarded.wait_log(r"info purge: number=1 by=cms tags=1 mode=hard durable=yes repeated=no$")
    status_of(guarded, "POST", "/purge", {"tags": ["t"]}, Authorization=f"Bearer {KEYS['both']}")
    guarded.wait_log(r"info purge: number=2 by=token-8 tags=1 ")
    assert not any(token in guarded.log for token in KEYS.values())


def test_tokens_are_read_again_all_or_nothing(guarded):
    def ask(token):
        return status_of(guarded, "POST", "/purge", {"tags": ["t"]}, Authorization=f"Bearer {token}")[0]

    def reload(text, logged):
        guarded.token_file.write_text(text)
        mark = guarded.log_mark()
        guarded.send_signal(signal.SIGHUP)
        guarded.wait_log(logged, since=mark)

    assert ask(KEYS["config"]) == 403
    reload(TOKEN_FILE.replace(" config", " config,purge:tag").replace(KEYS["both"], "another-token-0123456789"), "reload: done")
    assert (ask(KEYS["config"]), ask(KEYS["both"]), ask("another-token-0123456789")) == (200, 401, 200)
    reload(TOKEN_FILE + "yet-another-token-0123456789 purge:everything\n", r"tokens:9: a scope is not known; there are read, purge:url")
    guarded.wait_log("reload: refused")
    assert (ask(KEYS["config"]), ask(KEYS["both"]), ask("another-token-0123456789")) == (200, 401, 200)


# ---- the books

def test_the_log_has_a_line_for_each(caller):
    caller.purge({"urls": ["http://a/1", "http://a/2"], "tags": ["x"], "reference": "v42"})
    caller.shield.wait_log(r'info purge: number=\d+ by=127\.0\.0\.1 urls=2 tags=1 mode=hard durable=yes repeated=no reference="v42"$')
    caller.purge({"urls": ["http://a/1"], "reference": "v42"})
    caller.shield.wait_log(r'info purge: number=\d+ by=\S+ urls=1 mode=hard durable=yes repeated=yes reference="v42"$')
    caller.purge({"all": True, "over": "10m"})
    caller.shield.wait_log(r"info purge: number=\d+ by=\S+ all=1 mode=soft over=10m durable=yes repeated=no$")


# ---- Cloudflare's dialect

ZONE = "/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache"


@pytest.mark.parametrize("body", [
    {"purge_everything": True}, {"files": ["https://www.example.com/css/styles.css", "http://www.example.com/js/index.js"]},
    {"files": [{"url": "https://www.example.com/cat.jpg", "headers": {"CF-IPCountry": "US", "Accept-Language": "zh-CN"}}]},
    {"tags": ["some-tag", "another-tag"]}, {"hosts": ["www.example.com", "images.example.com"]},
    {"prefixes": ["www.example.com/foo", "images.example.com/bar/baz"]},
])
def test_calls_of_cloudflare(caller, body):
    for method in ("POST", "DELETE"):
        status, said, _ = caller.send(method, ZONE, body, Content_Type="application/json")
        assert status == 200, said
        assert (said["success"], said["errors"], said["messages"]) == (True, [], [])
        assert said["result"]["id"] == "023e105f4ecef8ad9ca31a8372d0c353" and said["result"]["purge"] > 0


@pytest.mark.parametrize("method, path, body, status", [
    ("POST", ZONE, "{}", 400), ("POST", ZONE, '{"files":["x"]}', 400), ("POST", ZONE, "", 400), ("GET", ZONE, None, 405),
])
def test_errors_of_cloudflare(caller, method, path, body, status):
    got, said, _ = caller.send(method, path, body)
    assert got == status
    assert (said["success"], said["messages"], said["result"]) == (False, [], None)
    assert isinstance(said["errors"][0]["code"], int) and said["errors"][0]["message"]


# ---- Fastly's dialect

@pytest.mark.parametrize("method, path, body, fields, logged", [
    ("POST", "/service/SU1Z0isxPaozGVKXdv0eY/purge/key", None, {}, "tags=1 mode=hard"),
    ("PUT", "/service/S1/purge/key", None, {"Fastly-Soft-Purge": "1"}, "tags=1 mode=soft"),
    ("POST", "/service/S1/purge/a%2Fb", "", {}, "tags=1 mode=hard"),
    ("POST", "/service/S1/purge_all", None, {}, "all=1 mode=hard"),
    ("PUT", "/service/S1/purge_all", "", {}, "all=1 mode=hard"),
    ("POST", "/purge/www.example.com/path/to/object-to-purge?x=y", None, {"Fastly-Soft-Purge": "1"}, "urls=1 mode=soft"),
    ("PURGE", "/purge/www.example.com/", None, {}, "urls=1 mode=hard"),
])
def test_calls_of_fastly(caller, method, path, body, fields, logged):
    status, said, _ = caller.send(method, path, body, Accept="application/json", **fields)
    assert status == 200 and said["status"] == "ok" and int(said["id"]) > 0, said
    caller.shield.wait_log(f"purge: number={said['id']} by=.* {logged}")


def test_several_keys_of_fastly(caller):
    for body, fields in ((None, {"Surrogate-Key": "key_1 key_2"}), ({"surrogate_keys": ["key_1", "key_2"]}, {"Fastly-Soft-Purge": "1"})):
        status, said, _ = caller.send("POST", "/service/S1/purge", body, **fields)
        assert status == 200 and set(said) == {"key_1", "key_2"} and len(set(said.values())) == 1


@pytest.mark.parametrize("method, path, status", [
    ("POST", "/service/S1/purge", 400), ("POST", "/service/S1/purge/%zz", 400), ("POST", "/purge/user@host/", 400),
    ("GET", "/service/S1/purge/key", 405), ("GET", "/service/S1/purge_all", 405), ("PUT", "/purge/a/b", 405),
])
def test_errors_of_fastly(caller, method, path, status):
    got, said, _ = caller.send(method, path)
    assert got == status and said["msg"]


@pytest.mark.parametrize("path", ["/service", "/service/", "/service/S1", "/service/S1/", "/service//purge_all", "/service/S1/purge/",
                                  "/service/S1/x", "/service/S1/x/purge_all", "/purge/", "/client/v4/zones//purge_cache",
                                  "/client/v4/zones/a/b/purge_cache", "/client/v4/zones/a/purge_cache/"])
def test_what_is_no_page(caller, path):
    assert caller.shield.admin_get(path, "POST")[0] == 404
