"""Warming: POST /warm and what comes of it: what is stored, who goes first, what is refused, how it is told and ended."""
import http.client
import json
import signal

import pytest

from patience import until
from scripted_origin import Reply, cacheable

HOST = "http://edge.test"
FIELDS = {"id", "urls", "done", "stored", "fresh", "failed", "uncacheable", "sitemaps", "pace", "running", "cancelled"}


def post(shield, order, query="", **kw):
    """(status, JSON) of an order; a list of paths is one in our JSON."""
    if isinstance(order, list):
        order = {"urls": [HOST + path for path in order], **kw}
    if isinstance(order, dict):
        order = json.dumps(order)
    status, text, _ = shield.admin_get("/warm" + query, "POST", order)
    return status, json.loads(text)


def begin(shield, order, **kw):
    status, said = post(shield, order, **kw)
    assert status == 202 and set(said) == {"warm", "urls"}, said
    return said["warm"]


def look(shield, number):
    status, text, _ = shield.admin_get(f"/warm/{number}")
    assert status == 200, text
    return json.loads(text)


def finish(shield, number):
    def over():
        said = look(shield, number)
        return None if said["running"] else said
    return until(f"warming {number} is over", over)


def warm(shield, order, **kw):
    """What came of it, when it is over: (urls, stored, fresh, failed, uncacheable)."""
    said = finish(shield, begin(shield, order, **kw))
    assert said["done"] == said["urls"] and not said["cancelled"], said
    return tuple(said[name] for name in ("urls", "stored", "fresh", "failed", "uncacheable"))


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_warmed_is_a_hit(lab, workers):
    origin = lab.origin().on_all(lambda r: cacheable(r.target * 1000))
    shield = lab.shield(origin, workers=workers)
    paths = [f"/{i}?q={i}" for i in range(20)]
    assert warm(shield, paths, pace=1000) == (20, 20, 0, 0, 0)
    assert origin.count() == 20
    for path in paths:
        answer = lab.ask(shield, path)
        assert "hit" in answer.get("Cache-Status") and answer.body == (path * 1000).encode()
    assert warm(shield, paths, pace=1000) == (20, 0, 20, 0, 0)
    assert origin.count() == 20
    assert shield.metric("origin_requests_total", kind="refresh") == 20
    assert shield.metric("requests_total") == 20


def test_what_is_on_disk_is_fresh(lab, tmp_path):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin, store=tmp_path / "store")
    assert warm(shield, ["/a"]) == (1, 1, 0, 0, 0)
    shield.wait_stored()
    shield.stop()
    shield = lab.shield(origin, store=tmp_path / "store")
    assert warm(shield, ["/a", "/b"]) == (2, 1, 1, 0, 0)
    assert origin.count("/a") == 1


def test_every_end_has_its_counter(lab):
    origin = lab.origin()
    origin.on("/stored", cacheable("x")).on("/private", Reply("x", Cache_Control="private")).on("/cut", lambda r: r.reset())
    origin.on("/error", Reply("x", 500)).on("/gone", Reply("x", 404)).on("/large", cacheable(b"x" * 3000000))
    origin.on("/validated", Reply("x", Cache_Control="no-cache", ETag='"1"'))
    shield = lab.shield(origin, sets={"store.object_max": "1m"})
    paths = ["/stored", "/private", "/cut", "/error", "/large", "/validated"]
    number = begin(shield, paths)
    said = finish(shield, number)
    assert set(said) == FIELDS | {"failures"}
    assert (said["stored"], said["uncacheable"], said["failed"]) == (2, 2, 2), said
    whys = {f["url"]: f for f in said["failures"]}
    assert set(whys) == {HOST + "/cut", HOST + "/error"} and whys[HOST + "/error"]["status"] == 500
    assert "closed the connection" in whys[HOST + "/cut"]["why"]
    listed = json.loads(shield.admin_get("/stats")[1])["warm"]
    assert [set(one) for one in listed] == [FIELDS] and listed[0]["id"] == number
    shield.wait_log(r"warm: id=1 by=127\.0\.0\.1 urls=6 pace=50")
    shield.wait_log(r"warm: id=1 done stored=2 fresh=0 uncacheable=2 failed=2")
    assert shield.metric("limit_reached_total", limit="store.object_max") == 1


def test_what_is_stale_is_renewed(lab):
    def answer(request):
        if request.get("If-None-Match") == '"1"':
            return Reply(status=304, Cache_Control="max-age=60", ETag='"1"')
        return Reply("x", Cache_Control="max-age=60, stale-while-revalidate=600", ETag='"1"')
    origin = lab.origin().on_all(answer)
    shield = lab.shield(origin)
    assert warm(shield, ["/a"]) == (1, 1, 0, 0, 0)
    shield.admin_get("/purge", "POST", '{"all":true,"soft":true}')
    assert warm(shield, ["/a"]) == (1, 1, 0, 0, 0)
    assert origin.count("/a") == 2
    assert "hit" in lab.ask(shield, "/a").get("Cache-Status")
    shield.admin_get("/purge", "POST", '{"all":true}')
    assert warm(shield, ["/a"]) == (1, 1, 0, 0, 0)
    assert "If-None-Match" not in origin.requests("/a")[-1]


def test_routes_and_hosts_hold(lab, tmp_path):
    config = tmp_path / "shield.yaml"
    config.write_text("""
hosts: edge.test
routes:
  - { match: { path: /deny }, deny: on }
  - { match: { path: /off }, cache: off }
  - { match: { path: /sorted }, key: { query_sort: on, query_ignore: utm_* } }
  - { match: { path: /alone }, collapse: off }
  - { match: { path: /* }, ttl: 1h }
""")
    origin = lab.origin().on_all(Reply("x", Cache_Control="max-age=60"))
    shield = lab.shield(origin, args=("-c", config))
    assert warm(shield, ["/deny", "/off"]) == (2, 0, 0, 0, 2)
    assert origin.count() == 0
    assert warm(shield, ["/sorted?b=1&utm_x=2&a=3", "/alone"]) == (2, 2, 0, 0, 0)
    assert {r.target for r in origin.requests()} == {"/sorted?a=3&b=1", "/alone"}
    assert "hit" in lab.ask(shield, "/sorted?a=3&b=1").get("Cache-Status")
    assert warm(shield, {"urls": ["http://other.test/a"]}) == (1, 0, 0, 1, 0)
    assert "not served here" in look(shield, 3)["failures"][0]["why"]


def test_variants(lab):
    origin = lab.origin().on_all(lambda r: cacheable(r.get("Accept-Encoding", "none"), Vary="Accept-Encoding"))
    shield = lab.shield(origin)
    sets = [{"Accept-Encoding": "gzip"}, {"Accept-Encoding": "br"}, {}]
    assert warm(shield, ["/a", "/b"], headers=sets) == (6, 6, 0, 0, 0)
    for target in ("/a", "/b"):
        answer = lab.ask(shield, target, host="edge.test", headers=[("Accept-Encoding", "gzip")])
        assert "hit" in answer.get("Cache-Status") and answer.body == b"gzip"
    assert warm(shield, ["/a"], headers={"Accept-Encoding": "gzip"}) == (1, 0, 1, 0, 0)


def test_clients_join_and_go_first(lab):
    """Of one place at the origin, the client who comes last gets the next; what a client has joined is his."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": 1})
    number = begin(shield, ["/first", "/second", "/third"], pace=1000)
    held = origin.expect("/first")
    shield.wait_metric("origin_queue_depth", 2)
    client, joiner = lab.client(shield), lab.client(shield)
    client.request("/client")
    shield.wait_metric("origin_queue_depth", 3)
    joiner.request("/third")
    shield.wait_metric("collapsed_requests_total", 1)
    held.respond(fields={"Cache-Control": "max-age=60"})
    for target in ("/client", "/third", "/second"):
        origin.expect(target).respond(fields={"Cache-Control": "max-age=60"}, body=b"x")
    assert "collapsed" in joiner.response().get("Cache-Status")
    assert client.response().status == 200
    assert finish(shield, number)["stored"] == 3
    assert origin.count() == 4
    assert shield.metric("waiter_fates_total") == 2


def test_who_gave_way_comes_again(lab):
    """The origin's queue is full, and a client takes the place of what nobody waits for."""
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": 1, "origins.default.max_queued": 1})
    number = begin(shield, ["/first", "/second", "/third"], pace=1000)
    held = origin.expect("/first")
    shield.wait_metric("limit_reached_total", lambda n: n >= 1, limit="origins.max_queued")
    client = lab.client(shield).request("/client")
    shield.wait_metric("limit_reached_total", lambda n: n >= 2, limit="origins.max_queued")
    held.respond(fields={"Cache-Control": "max-age=60"})
    origin.expect("/client").respond()
    for _ in range(2):
        until("one of them comes", lambda: origin.held)
        origin.expect(origin.held[0].target).respond(fields={"Cache-Control": "max-age=60"})
    assert client.response().status == 200
    said = finish(shield, number)
    assert (said["stored"], said["failed"]) == (3, 0), said


def test_it_joins_a_client(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    client.request("/a")
    held = origin.expect("/a")
    number = begin(shield, ["/a"])
    shield.wait_metric("waiters", 2)
    assert shield.metric("collapsed_requests_total") == 0
    held.respond(fields={"Cache-Control": "max-age=60"}, body=b"x")
    assert finish(shield, number)["stored"] == 1
    assert client.response().body == b"x" and origin.count() == 1


def test_bounds(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"warm.max_urls": 4, "warm.max_lists": 2, "warm.max_running": 3})
    assert post(shield, ["/a"] * 5)[0] == 413
    assert post(shield, ["/a", "/b", "/c"], headers=[{"A": "1"}, {"A": "2"}])[0] == 413
    first = begin(shield, ["/1", "/2", "/3", "/4"], pace=1000)
    held = [origin.expect(f"/{i}") for i in (1, 2, 3)]
    shield.wait_metric("limit_reached_total", 1, limit="warm.max_running")
    second = begin(shield, ["/5"], pace=1000)
    status, said = post(shield, ["/6"])
    assert status == 503 and "warm.max_lists" in said["error"]
    assert origin.count() == 3 and shield.metric("waiters") == 3
    for request in held:
        request.respond(fields={"Cache-Control": "max-age=60"})
    for target in ("/4", "/5"):
        origin.expect(target).respond(fields={"Cache-Control": "max-age=60"})
    assert finish(shield, first)["stored"] == 4 and finish(shield, second)["stored"] == 1
    assert shield.metric("limit_reached_total", limit="warm.max_urls") == 2
    assert shield.metric("limit_reached_total", limit="warm.max_lists") == 1


def test_pace(lab):
    """Not faster than it is asked to be: two seconds hold two at one a second, however fast the origin is."""
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    number = begin(shield, [f"/{i}" for i in range(100)], pace=1)
    until("two are done", lambda: look(shield, number)["done"] == 2)
    assert origin.count() == 2
    assert shield.admin_get(f"/warm/{number}", "DELETE")[0] == 200


def test_cancel(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"warm.max_running": 1})
    number = begin(shield, ["/a", "/b"], pace=1000)
    held = origin.expect("/a")
    status, text, _ = shield.admin_get(f"/warm/{number}", "DELETE")
    said = json.loads(text)
    assert status == 200 and said["cancelled"] and said["running"] and said["done"] == 0
    held.respond(fields={"Cache-Control": "max-age=60"})
    said = finish(shield, number)
    assert (said["done"], said["stored"], said["urls"]) == (1, 1, 2)
    assert origin.count() == 1
    assert shield.admin_get(f"/warm/{number}", "DELETE")[0] == 200
    for wrong in ("99", "x", "0", "1/2"):
        assert shield.admin_get(f"/warm/{wrong}")[0] == 404
    assert shield.admin_get("/warm")[0] == 405 and shield.admin_get("/warm/1", "POST", "{}")[0] == 405


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_drain_ends_it(lab, number):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2, sets={"origins.default.max_concurrent": 1})
    begin(shield, [f"/{i}" for i in range(1000)], pace=1000)
    origin.wait_count(1)
    client = lab.client(shield)
    client.request("/client")
    shield.wait_metric("origin_queue_depth", 32)
    shield.send_signal(number)
    shield.wait_log("warm: id=1 cancelled")
    assert post(shield, ["/a"])[0] == 503
    client.reset()
    assert shield.wait_exit() == 0


def test_a_reload_does_not(lab, tmp_path):
    config = tmp_path / "shield.yaml"
    config.write_text("warm: { max_running: 1 }\n")
    origin = lab.origin()
    shield = lab.shield(origin, args=("-c", config))
    number = begin(shield, ["/a", "/b", "/c"], pace=1000)
    held = origin.expect("/a")
    config.write_text("warm: { max_running: 2 }\n")
    shield.send_signal(signal.SIGHUP)
    shield.wait_log("reload: done")
    held.respond(fields={"Cache-Control": "max-age=60"})
    for request in [origin.expect("/b"), origin.expect("/c")]:
        request.respond(fields={"Cache-Control": "max-age=60"})
    assert finish(shield, number)["stored"] == 3


def test_a_purge_overtakes_it(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    number = begin(shield, ["/a"])
    old = origin.expect("/a")
    assert shield.admin_get("/purge", "POST", '{"all":true}')[0] == 200
    origin.expect("/a").respond(fields={"Cache-Control": "max-age=60"}, body=b"new")
    assert finish(shield, number)["stored"] == 1
    old.close()
    assert lab.ask(shield, "/a").body == b"new"


SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <!-- <url><loc>http://edge.test/comment</loc></url> -->
  <url><loc> http://edge.test/a?x=1&amp;y=2 </loc><lastmod>2026-01-01</lastmod>
    <image:image><image:loc>http://edge.test/image</image:loc></image:image></url>
  <url title=">"><loc><![CDATA[http://edge.test/b?x=1&y=2]]></loc></url>
  <url/>
</urlset>
"""


@pytest.mark.parametrize("body, targets", [
    ("http://edge.test/a\r\n\n# a comment\n  https://edge.test/b  \n\ufeff".rstrip("\ufeff"), {"/a", "/b"}),
    ("\ufeffhttp://edge.test/a", {"/a"}), (SITEMAP, {"/a?x=1&y=2", "/b?x=1&y=2"}), ("\ufeff" + SITEMAP, {"/a?x=1&y=2", "/b?x=1&y=2"}),
    (' {"urls":["HTTP://edge.test"],"pace":100}', {"/"}),
])
def test_ways_to_write_it(lab, body, targets):
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    assert warm(shield, body.encode(), query="?pace=500")[1] == len(targets)
    assert {r.target for r in origin.requests()} == targets


# ---- sitemaps that are fetched

def sitemap(*urls, root="urlset", entry="url"):
    return f"<{root}>" + "".join(f"<{entry}><loc>{HOST}{url}</loc></{entry}>" for url in urls) + f"</{root}>"


def index(*urls):
    return sitemap(*urls, root="sitemapindex", entry="sitemap")


def test_a_sitemap_is_fetched(lab):
    origin = lab.origin().on_all(cacheable("x"))
    origin.on("/sitemap.xml", Reply(sitemap("/a", "/b"), Cache_Control="no-store", chunked=True))
    shield = lab.shield(origin, workers=2)
    for n, came in ((1, (3, 3, 0)), (2, (3, 0, 3))):  # remembered as uncacheable or not, it is read each time
        said = finish(shield, begin(shield, {"urls": [HOST + "/c"], "sitemap": HOST + "/sitemap.xml", "pace": 1000}))
        assert (said["urls"], said["stored"], said["fresh"]) == came and said["sitemaps"] == 1 and said["failures"] == []
        assert origin.count("/sitemap.xml") == n
    assert {r.target for r in origin.requests()} == {"/sitemap.xml", "/a", "/b", "/c"}
    assert "hit" in lab.ask(shield, "/a").get("Cache-Status")


def test_it_is_read_as_it_comes(lab):
    origin = lab.origin().on("/a", cacheable("x"))
    shield = lab.shield(origin)
    text = (sitemap("/a")[:-9] + "<!--" + "x" * 3000000 + "--></urlset>").encode()
    number = begin(shield, {"sitemap": HOST + "/s"})
    held = origin.expect("/s").send_head(fields={"Cache-Control": "max-age=60"}, length=len(text))
    for at in range(0, len(text), 500000):
        held.send(text[at:at + 500000])
    held.finish()
    assert finish(shield, number)["stored"] == 1


def test_an_index_is_followed_once(lab):
    origin = lab.origin().on_all(cacheable("x"))
    origin.on("/index", Reply(index("/s1", "/s2", "/deeper", "/missing"))).on("/s1", Reply(sitemap("/a"))).on("/s2", Reply(sitemap("/b", "/c")))
    origin.on("/deeper", Reply(index("/s3"))).on("/missing", Reply("x", 404))
    shield = lab.shield(origin)
    for order in ({"sitemap": HOST + "/index", "pace": 1000}, index("/s1", "/s2", "/deeper", "/missing")):
        number = begin(shield, order)
        said = finish(shield, number)
        whys = {f["url"]: f for f in said["failures"]}
        if number == 1:
            assert said["sitemaps"] == 3 and set(whys) == {HOST + "/deeper", HOST + "/missing"}
            assert "index within an index" in whys[HOST + "/deeper"]["why"] and whys[HOST + "/missing"]["status"] == 404
            assert (said["urls"], said["done"], said["stored"], said["failed"]) == (5, 5, 3, 2)
        else:  # what was given may be an index itself
            assert said["sitemaps"] == 3 and "before its beginning" in whys[HOST + "/s3"]["why"]
    assert origin.count("/s3") == 1


def test_a_sitemap_that_is_no_good_warms_nothing(lab):
    origin = lab.origin().on_all(cacheable("x"))
    origin.on("/cut", Reply(sitemap("/a")[:-3])).on("/bad", Reply(sitemap("/a", "#b"))).on("/large", Reply(sitemap("/a") + " " * 2000))
    origin.on("/many", Reply(sitemap(*["/a"] * 4))).on("/error", Reply("x", 503)).on("/reset", lambda r: r.reset())
    shield = lab.shield(origin, sets={"warm.max_sitemap": "1k", "warm.max_urls": 3})
    whys = {"/cut": "breaks off", "/bad": "loc[1]", "/large": "warm.max_sitemap", "/many": "warm.max_urls", "/error": "an error", "/reset": "closed"}
    for target, why in whys.items():
        said = finish(shield, begin(shield, {"sitemap": HOST + target}))
        assert (said["urls"], said["done"], said["failed"], said["sitemaps"]) == (1, 1, 1, 0), said
        assert why in said["failures"][0]["why"], said
    assert origin.count("/a") == 0
    for limit in ("warm.max_sitemap", "warm.max_urls"):
        assert shield.metric("limit_reached_total", limit=limit) == 1


def test_a_sitemap_waits_behind_clients(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": 1})
    first = lab.client(shield).request("/first")
    held = origin.expect("/first")
    number = begin(shield, {"sitemap": HOST + "/s"})
    shield.wait_metric("origin_queue_depth", 1)
    second = lab.client(shield).request("/second")
    shield.wait_metric("origin_queue_depth", 2)
    held.respond(body=b"1")
    origin.expect("/second").respond(body=b"2")
    origin.expect("/s").respond(body=sitemap().encode())
    assert (first.response().body, second.response().body) == (b"1", b"2")
    assert finish(shield, number)["sitemaps"] == 1


@pytest.mark.parametrize("body, told", [
    ("", "nothing to warm"), ("# nothing\n", "nothing to warm"), ("{}", "nothing to warm"), ('{"urls":"http://a/"}', "urls: write a list"), ('{"sitemap":["http://a/"]}', "sitemap: write a string"),
    ('{"sitemap":"/x"}', "sitemap[0]"), ('{"urls":[]}', "nothing to warm"),
    ("{", "no JSON"), ("[" * 100000, "write an object"), ('["http://a/"]', "write an object"), ('{"urls":["http://a/"],"url":1}', "'url' is not known"), ('{"urls":[1]}', "urls[0]: write a string"),
    ('{"urls":["http://a/","/x"]}', "urls[1]: '/x' is no absolute URL"), ("http://a/\n\nhttp://a/ b\n", "line[3]"),
    ("ftp://a/", "line[1]"), ("http://a/#x", "fragment"), ("http:///a", "line[1]"), ("http://user@a/", "line[1]"),
    ('{"urls":["http://a/\\r\\nX: 1"]}', "urls[0]"), ('{"urls":["http://a/"],"pace":0}', "pace: write a number from 1"),
    ('{"urls":["http://a/"],"pace":"fast"}', "pace"), ('{"urls":["http://a/"],"pace":10001}', "pace"),
    ('{"urls":["http://a/"],"headers":[1]}', "headers: write an object"), ('{"urls":["http://a/"],"headers":{"A":1}}', "headers"),
    ('{"urls":["http://a/"],"headers":{"A b":"1"}}', "headers"), ('{"urls":["http://a/"],"headers":{"Host":"b"}}', "leave Host out"),
    ('{"urls":["http://a/"],"headers":{"A":"1\\r\\nB: 2"}}', "headers"), ('{"urls":["http://a/"],"headers":{"Content-Length":"5"}}', "headers"),
    ('{"urls":["http://a/"],"headers":{"Transfer-Encoding":"chunked"}}', "headers"),
    ("<urlset><url><loc>http://a/</loc></url>", "breaks off"), ("<urlset><url><loc>http://a/</url></loc></urlset>", "do not nest"),
    ("<sitemapindex/>", "nothing to warm"), ("<sitemapindex><url><loc>http://a/</loc></url></sitemapindex>", "nothing to warm"), ("<html/>", "neither <urlset>"), ("<!--><urlset/>", "breaks off"), ("<!DOCTYPE a [<!ENTITY x 'y'>]><urlset/>", "document type"),
    ("<urlset><url><loc>http://a/&x;</loc></url></urlset>", "reference"), ("<urlset><url><loc>http://a/&#233;</loc></url></urlset>", "reference"),
    ("<urlset><url><loc>/x</loc></url></urlset>", "loc[0]: '/x' is no absolute URL"), ("<urlset/><urlset/>", "behind its end"), ("<urlset/>x", "behind its end"),
    ("<urlset>" + "<a>" * 100, "too deeply"), ("<urlset/>", "nothing to warm"), ("<urlset><url><loc>http://a/?a&b</loc></url></urlset>", "&amp;"),
])
def test_what_is_refused(module_lab, refusing, body, told):
    status, said = post(refusing, body.encode())
    assert status == 400 and told in said["error"], said
    assert json.loads(refusing.admin_get("/stats")[1])["warm"] == []


@pytest.fixture(scope="module")
def refusing(module_lab):
    return module_lab.shield(module_lab.origin())


def test_query(refusing):
    for query in ("?pace=", "?pace=x", "?pace=0", "?rate=1", "?pace=1&pace=2"):
        assert post(refusing, "http://a/", query=query)[0] == 400


def test_scopes(lab, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("read-token-0000000 read\nconf-token-0000000 config name=deploy\npurg-token-0000000 purge:all\n")
    shield = lab.shield(lab.origin().on_all(cacheable("x")), sets={"admin.token_file": tokens})

    def status(token, path, method="GET", body=None):
        connection = http.client.HTTPConnection(*shield.admin)
        connection.request(method, path, body, {"Authorization": f"Bearer {token}-token-0000000"})
        got = connection.getresponse().status
        connection.close()
        return got

    assert [status(t, "/warm", "POST", "http://a/") for t in ("read", "purg", "conf")] == [403, 403, 202]
    assert [status(t, "/warm/1") for t in ("read", "purg", "conf")] == [200, 403, 200]
    assert [status(t, "/warm/1", "DELETE") for t in ("read", "purg", "conf")] == [403, 403, 200]
    shield.wait_log("warm: id=1 by=deploy urls=1")
    assert shield.stop() == 0


def test_only_so_many_are_remembered(lab):
    shield = lab.shield(lab.origin().on_all(cacheable("x")))
    for _ in range(20):
        warm(shield, ["/a"])
    listed = [one["id"] for one in json.loads(shield.admin_get("/stats")[1])["warm"]]
    assert listed == list(range(4, 21)) and shield.admin_get("/warm/3")[0] == 404
