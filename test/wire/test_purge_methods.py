"""PURGE, SOFTPURGE and BAN on the data port, as callers of Varnish, nginx and Fastly send them."""
import json
import signal

import pytest

from scripted_origin import Reply

HOST = "edge.test"
FRESH = {"Cache-Control": "max-age=600, stale-while-revalidate=600", "ETag": '"1"'}


class Shop:
    """A shield that lets this host purge, before an origin whose answers count up."""

    def __init__(self, lab, allow="127.0.0.1", **sets):
        self.lab, self.asked = lab, {}
        self.origin = lab.origin().on_all(self.answer)
        self.shield = lab.shield(self.origin, sets={"purge.allow": allow, **sets})
        self.client = lab.client(self.shield)

    def answer(self, request):
        n = self.asked[request.target] = self.asked.get(request.target, 0) + 1
        tag = request.target.strip("/").split("/")[0] or "root"
        return Reply(f"{request.target} {n}", headers={**FRESH, "Surrogate-Key": f"all {tag}", "Cache-Tag": f"t:{tag}"}.items())

    def get(self, target):
        return self.client.ask(target).body.decode()

    def fill(self, *targets):
        for target in targets:
            assert self.get(target) == f"{target} 1"

    def purge(self, target, method="PURGE", expected=200, **fields):
        answer = self.client.ask(target, method, headers=[(k.replace("_", "-"), v) for k, v in fields.items()])
        assert answer.status == expected, (answer.status, answer.body)
        if expected != 200:
            return answer.body.decode()
        assert answer["Content-Type"] == "application/json" and answer["Cache-Control"] == "no-store"
        said = json.loads(answer.body)
        assert said["durable"] is True and said["purge"] > 0
        return said["purge"]


@pytest.fixture
def shop(lab):
    return Shop(lab)


def test_purge_is_for_the_url(shop):
    shop.fill("/a", "/a?x", "/b")
    shop.purge("/a")
    assert [shop.get(t) for t in ("/a", "/a?x", "/b")] == ["/a 2", "/a?x 1", "/b 1"]
    shop.purge("/a?x")
    assert [shop.get(t) for t in ("/a", "/a?x")] == ["/a 2", "/a?x 2"]
    assert all(r.method == "GET" for r in shop.origin.requests())


def test_all_variants_go(lab):
    origin = lab.origin().on_all(lambda r: Reply("x", headers={"Cache-Control": "max-age=600", "Vary": "Accept-Language"}.items()))
    shield = lab.shield(origin, sets={"purge.allow": "127.0.0.0/8"})
    client = lab.client(shield)
    languages = ("de", "en", "fr")
    for _ in range(2):
        for language in languages:
            client.ask("/x", headers=[("Accept-Language", language)])
    assert origin.count() == 3
    assert client.ask("/x", "PURGE").status == 200
    for language in languages:
        client.ask("/x", headers=[("Accept-Language", language)])
    assert origin.count() == 6


@pytest.mark.parametrize("method, fields", [("SOFTPURGE", {}), ("PURGE", {"Soft_Purge": "1"}), ("PURGE", {"Fastly_Soft_Purge": "1"}),
                                            ("PURGE", {"xkey_softpurge": "all"})])
def test_soft_is_stale(shop, method, fields):
    shop.fill("/a")
    shop.purge("/a", method, **fields)
    answer = shop.client.ask("/a")
    assert answer.body == b"/a 1" and "max-age=0" in answer["Cache-Control"]
    shop.shield.wait_metric("origin_requests_total", 1, kind="refresh")


@pytest.mark.parametrize("method", ["PURGE", "BAN"])
@pytest.mark.parametrize("fields", [{"Surrogate_Key": "none a"}, {"xkey": "a"}, {"xkey_purge": "none a"}, {"Cache_Tag": "none , t:a"},
                                    {"Cache_Tags": "none t:a"}, {"Cache_Tags": "x|t:a"}, {"Cache_Tags": "x,a"}])
def test_tags(shop, method, fields):
    shop.fill("/a/1", "/a/2", "/b")
    shop.purge("/", method, **fields)
    assert [shop.get(t) for t in ("/a/1", "/a/2", "/b")] == ["/a/1 2", "/a/2 2", "/b 1"]


@pytest.mark.parametrize("method, target, fields", [("PURGE", "/a/*", {}), ("BAN", "/a/*", {}), ("BAN", "/a*", {}),
                                                    ("PURGE", "/a/.*", {"X_Purge_Method": "regex"})])
def test_prefixes(shop, method, target, fields):
    shop.fill("/a/1", "/a/2?x", "/b")
    shop.purge(target, method, **fields)
    assert [shop.get(t) for t in ("/a/1", "/a/2?x", "/b")] == ["/a/1 2", "/a/2?x 2", "/b 1"]


def test_everything_of_a_host(shop):
    shop.fill("/a", "/b?c")
    other = shop.client.ask("/a", host="other.test").body
    shop.purge("/.*", X_Purge_Method="regex")
    assert [shop.get(t) for t in ("/a", "/b?c")] == ["/a 3", "/b?c 2"]
    assert shop.client.ask("/a", host="other.test").body == other


@pytest.mark.parametrize("method, target, fields, told", [
    ("BAN", "/a", {}, "BAN wants tags"), ("BAN", "/", {"X_Url": "^/a", "X_Host": ".*"}, "BAN wants tags"),
    ("PURGE", "/", {"X_Magento_Tags_Pattern": "((^|,)cat_p_1(,|$))"}, "X-Magento-Tags-Pattern is an expression"),
    ("PURGE", "/(a|b)/.*", {"X_Purge_Method": "regex"}, "of regular expressions only"),
    ("PURGE", "/a", {"X_Purge_Method": "regex"}, "of regular expressions only"),
    ("PURGE", "/", {"Surrogate_Key": ""}, "nothing to purge"), ("BAN", "/*", {"Cache_Tags": " , "}, "nothing to purge"),
])
def test_what_is_not_known_purges_nothing_and_says_so(shop, method, target, fields, told):
    shop.fill("/a", "/")
    assert told in shop.purge(target, method, expected=400, **fields)
    assert [shop.get(t) for t in ("/a", "/")] == ["/a 1", "/ 1"]


def test_a_reference(shop):
    first = shop.purge("/a", Idempotency_Key='"once"')
    answer = shop.client.ask("/a", "PURGE", headers=[("Idempotency-Key", '"once"')])
    assert json.loads(answer.body) == {"purge": first, "durable": True, "repeated": True}


# ---- who may

@pytest.mark.parametrize("method", ["PURGE", "SOFTPURGE", "BAN"])
@pytest.mark.parametrize("allow", [None, "10.0.0.0/8", "::1"])
def test_others_get_405_and_nothing_goes_upstream(lab, method, allow):
    origin = lab.origin().on_all(lambda r: Reply("x", headers=FRESH.items()))
    shield = lab.shield(origin, sets={"purge.allow": allow} if allow else {})
    client = lab.client(shield)
    client.ask("/a")
    answer = client.ask("/a*", method, headers=[("X-Forwarded-For", "10.0.0.1"), ("Surrogate-Key", "a")])
    assert answer.status == 405 and method not in answer["Allow"]
    client.ask("/a")
    assert origin.count() == 1
    assert "purge:" not in shield.log


def test_the_list_is_read_again(lab, tmp_path):
    config = tmp_path / "shield.yaml"
    config.write_text("purge: { allow: [10.0.0.0/8] }\n")
    shield = lab.shield(lab.origin(), args=("-c", config))
    client = lab.client(shield)
    assert client.ask("/a", "PURGE").status == 405
    config.write_text("purge: { allow: [127.0.0.1] }\n")
    shield.send_signal(signal.SIGHUP)
    shield.wait_log("reload: done")
    shield.wait_metric("flights", 0)
    assert client.ask("/a", "PURGE").status == 200


# ---- on a connection

def test_order_on_a_connection_holds(shop):
    shop.fill("/a")
    client = shop.lab.client(shop.shield)
    get = f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    purge = f"PURGE /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    client.send(get + purge + get + get + purge + get)
    answers = [client.response() for _ in range(6)]
    assert [a.status for a in answers] == [200] * 6
    assert [a.body.decode() for a in (answers[0], answers[2], answers[3], answers[5])] == ["/a 1", "/a 2", "/a 2", "/a 3"]


def test_a_body_is_ignored(shop):
    shop.fill("/a")
    body = b"x" * 3000
    assert shop.client.ask("/a", "PURGE", body=body).status == 200
    client = shop.lab.client(shop.shield)
    client.send(f"PURGE /a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    client.send(b"3\r\nabc\r\n0\r\n\r\n")
    assert client.response().status == 200


def test_other_forms_of_a_target(shop):
    shop.fill("/a")
    client = shop.lab.client(shop.shield)
    client.send(f"PURGE http://{HOST}/a HTTP/1.1\r\nHost: other.test\r\n\r\n".encode())
    assert client.response().status == 200
    assert shop.get("/a") == "/a 2"
    client.send(f"PURGE /a HTTP/1.0\r\nHost: {HOST.upper()}:80\r\n\r\n".encode())
    answer = client.response()
    assert answer.status == 200
    assert shop.get("/a") == "/a 3"
    client = shop.lab.client(shop.shield)
    client.send(b"PURGE /a HTTP/1.0\r\n\r\n")
    assert client.response().status == 400


def test_who_leaves_does_no_harm(lab):
    """The receipt comes for an exchange that is gone, or for another that has its place by now."""
    shop = Shop(lab)
    shop.fill("/a")
    purge = f"PURGE /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    for i in range(100):
        client = lab.client(shop.shield)
        client.send(purge * (1 + i % 3))
        if i % 2 == 0:
            shop.get("/b")
        client.reset()
    shop.purge("/a")
    assert shop.get("/a") == "/a 2"


def test_the_answer_does_not_wait_for_content(shop):
    client = shop.lab.client(shop.shield)
    client.send(f"PURGE /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nabc".encode())
    answer = client.response()
    assert answer.status == 200 and answer["Connection"] == "close"


def test_it_is_logged(shop):
    shop.purge("/a", "SOFTPURGE", Idempotency_Key="r1")
    shop.shield.wait_log(r'info purge: number=1 by=127\.0\.0\.1 urls=1 mode=soft durable=yes repeated=no reference="r1"$')
    shop.shield.wait_metric("purges_total", 1, kind="url", mode="soft")
