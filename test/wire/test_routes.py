"""Routes: which one a request takes, told by the origin that was asked and by how its answers are kept."""
import os
import re
import time
from email.utils import parsedate_to_datetime

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply, cacheable
from shield_process import ROOT, run
from test_signals import reload


class Rig:
    """A shield between two origins, each of which says its name."""

    def __init__(self, lab, tmp_path, routes, answers=cacheable):
        self.lab = lab
        self.path = tmp_path / "shield.yaml"
        self.a, self.b = lab.origin(), lab.origin()
        if answers is not None:
            self.a.on_all(answers(b"a"))
            self.b.on_all(answers(b"b"))
        self.write(routes)
        self.shield = lab.shield(args=["-c", self.path])

    def write(self, routes, more=""):
        origins = "\n".join(f"  {name}: {{ servers: ['{o.url}'] }}" for name, o in (("default", self.a), ("b", self.b)))
        self.path.write_text(f"origins:\n{origins}\n{more}\nroutes:\n{routes}\n")

    def who(self, target, **kw):
        return self.lab.ask(self.shield, target, **kw).body.decode()


def test_the_first_route_that_matches_names_the_origin(lab, tmp_path):
    rig = Rig(lab, tmp_path, """
  - { match: { path: /b/not/* } }
  - { match: { path: [/b/*, '*.css'] }, origin: b }
  - { match: { host: '*.b.example' }, origin: b }
  - { match: { method: POST, path: /post }, origin: b }
  - { match: { header: { X-Who: 'b*' } }, origin: b }
  - { match: { cookie: b }, origin: b }""")
    for target, fields, expected in [
            ("/", {}, "a"), ("/b/x", {}, "b"), ("/b/not/x", {}, "a"), ("/x/y.css?z", {}, "b"), ("/x?y.css", {}, "a"),
            ("/", {"host": "www.B.example:80"}, "b"), ("/", {"host": "b.example"}, "a"),
            ("/h1", {"X-Who": "bob"}, "b"), ("/h2", {"X-Who": "rob"}, "a"),
            ("/c1", {"Cookie": "a=1; b=2"}, "b"), ("/c2", {"Cookie": "a=b"}, "a"), ("/post", {}, "a")]:
        assert rig.who(target, **fields) == expected, (target, fields)
    assert rig.who("/post", method="POST", body=b"") == "b"


@pytest.mark.parametrize("target, by_one_reading, by_all", [
    ("/b/x", "b", "b"), ("/%62/x", "b", "b"), ("/x/../b/y", "b", "a"), ("/x/%2e%2e/b/y", "b", "a"), ("//b/x", "b", "a"),
    ("/b/../x", "b", "a"), ("/b;v=1/x", "b", "a"), ("/x\\..\\b/y", "b", "a"), ("/%2562/x", "a", "a"), ("/B/x", "a", "a"),
])
def test_other_spellings_of_a_path(lab, tmp_path, target, by_one_reading, by_all):
    """A route that forbids takes any reading of the path, another one only what all readings agree on. The origin always gets what
    came."""
    rig = Rig(lab, tmp_path, "  - { match: { host: off, path: /b/* }, origin: b, cache: off }\n"
                             "  - { match: { host: kept, path: /b/* }, origin: b }")
    assert rig.who(target, host="off") == by_one_reading
    assert rig.who(target, host="kept") == by_all
    assert {r.target for o in (rig.a, rig.b) for r in o.requests()} == {target}


def test_stale_by_route(lab, tmp_path):
    """Each route has its own stale_if_disconnected; what matches none has the section's."""
    def brief(body):
        return Reply(body, Cache_Control=f"max-age={LIFE_S}")
    rig = Rig(lab, tmp_path, """
  - { match: { path: /never/* }, stale_if_disconnected: 0s }
  - { match: { path: /static/* }, preset: static }""", brief)
    for target in ("/never/x", "/static/x", "/x"):
        assert rig.who(target) == "a"
    stored_at = time.time()
    rig.a.close()
    outlive(stored_at, LIFE_S)
    assert lab.ask(rig.shield, "/never/x").status == 502
    for target in ("/static/x", "/x"):
        answer = lab.ask(rig.shield, target)
        assert answer.status == 200 and answer.cache["hit"] and answer.cache["ttl"] < 0


def test_reload_changes_routes_and_what_they_inherit(lab, tmp_path):
    rig = Rig(lab, tmp_path, "  - { match: { path: /r/* }, origin: b }")
    client = lab.client(rig.shield)
    assert (client.ask("/r/1").body, client.ask("/s/1").body) == (b"b", b"a")
    rig.write("  - { match: { path: /s/* }, origin: b }")
    reload(rig.shield, r"reload: done")
    assert lab.ask(rig.shield, "/s/2").body == b"b"
    assert lab.ask(rig.shield, "/r/2").body == b"a"
    rig.write("  - { match: { path: /s/* }, origin: c }")
    reload(rig.shield, r"shield\.yaml:\d+:\d+: no origin 'c'")
    assert lab.ask(rig.shield, "/s/3").body == b"b"
    rig.write("  []")
    reload(rig.shield, r"reload: done")
    assert lab.ask(rig.shield, "/s/4").body == b"a"


def test_a_waiting_request_keeps_its_route_over_a_reload(lab, tmp_path):
    rig = Rig(lab, tmp_path, "  - { match: { path: /held }, origin: b }", answers=None)
    client = lab.client(rig.shield).request("/held")
    held = rig.b.expect("/held")
    for _ in range(3):
        rig.write("  []")
        reload(rig.shield, r"reload: done")
    held.respond(200, {"Cache-Control": "max-age=60"}, b"held")
    assert client.response().body == b"held"


def test_what_dash_T_prints_reads_back(tmp_path):
    path, again = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text("origins: { default: { servers: ['http://127.0.0.1:1'] } }\nstale: { if_disconnected: 7s }\nroutes:\n"
                    "  - { match: { path: /static/* }, preset: static, key: { query_ignore: [] } }\n"
                    "  - { match: { path: /old/* }, redirect: { to: /new } }\n"
                    "  - { cache: off }\n")
    code, first, err = run("-c", str(path), "-T")
    assert (code, err) == (0, "") and "stale_if_disconnected: 1w" in first and "preset: static" in first
    again.write_text(first)
    assert run("-c", str(again), "-T") == (0, first, "")


def test_the_examples_of_the_readme_load(tmp_path):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        example = re.search(r"```yaml\n(routes:.*?)```", f.read(), re.S).group(1)
    with open(os.path.join(ROOT, "deploy", "shield.yaml"), encoding="utf-8") as f:
        head, _, routes = f.read().partition("# routes:\n")
    path = tmp_path / "a.yaml"
    for text in (example + "origins: { default: { servers: ['http://a'] }, api: { servers: ['http://b'] } }\n",
                 head + "routes:\n" + re.sub(r"(?m)^# ", "", routes)):
        path.write_text(text)
        assert run("-c", str(path), "-t") == (0, "", "configuration is good\n")


# ---- what a route does with the answers ----

def routed(lab, origin, routes):
    file = lab.tmp_path / "routed.yaml"
    file.write_text("routes:\n" + routes.strip("\n") + "\n", encoding="ascii")
    return lab.shield(origin, args=("-c", str(file)))


def test_fixed_answers(lab):
    origin = lab.origin()
    shield = routed(lab, origin, """
  - { match: { path: /old }, redirect: { status: 301, to: https://www.example.com/new } }
  - { match: { path: /robots.txt }, answer: { type: text/plain, body: "Disallow: /" }, response: { set: { X-Own: 1 } } }
  - { match: { path: /admin/* }, deny: on }
""")
    moved = lab.ask(shield, "/old?x")
    assert (moved.status, moved["Location"]) == (301, "https://www.example.com/new")
    robots = lab.ask(shield, "/robots.txt")
    assert (robots.status, robots.body, robots["Content-Type"], robots["X-Own"]) == (200, b"Disallow: /", "text/plain", "1")
    head = lab.ask(shield, "/robots.txt", "HEAD")
    assert head["Content-Length"] == "11" and head.body == b""
    for target in ("/admin/", "/admin/x?y", "/%61dmin/x", "/x/../admin/x"):
        assert lab.ask(shield, target).status == 403
    assert lab.ask(shield, "/admin/x", "POST", body=b"x").status == 403
    shield.wait_metric("requests_total", 5, result="refused")
    assert origin.count() == 0


def test_cache_off_ttl_and_force(lab):
    origin = lab.origin()
    origin.on_all(Reply(b"x", Cache_Control="no-store"))
    shield = routed(lab, origin, """
  - { match: { path: /off/* }, cache: off }
  - { match: { path: /force/* }, cache: force, ttl: 1h }
  - { match: { path: /ttl/* }, ttl: 1h }
""")
    for target, count in (("/off/x", 2), ("/force/x", 1), ("/ttl/x", 2), ("/x", 2)):
        assert [lab.ask(shield, target).body for _ in range(2)] == [b"x", b"x"]
        assert origin.count(target) == count, target
    origin.on_all(Reply(b"x", Cache_Control="max-age=60"))
    for target, count in (("/off/y", 2), ("/ttl/y", 1)):
        answers = [lab.ask(shield, target) for _ in range(2)]
        assert origin.count(target) == count, target
    assert answers[1].cache["ttl"] > 3000 and answers[1]["Cache-Control"] == "max-age=60"


def test_what_edges_are_told(lab):
    origin = lab.origin()
    origin.on_all(Reply(b"x", Cache_Control="public, max-age=3600, s-maxage=7200", Age="100", ETag='"1"',
                        Date="Mon, 01 Jan 2024 00:00:00 GMT"))
    shield = routed(lab, origin, "  - { match: { path: '*' }, edge_ttl: 30s }\n")
    for _ in range(2):
        answer = lab.ask(shield, "/x")
        assert (answer["Cache-Control"], answer["Age"]) == ("max-age=30, public", "0")
        assert parsedate_to_datetime(answer["Date"]).timestamp() > time.time() - 60
    assert answer.cache["hit"] and answer.cache["ttl"] > 7000
    assert lab.ask(shield, "/x", If_None_Match='"1"')["Cache-Control"] == "max-age=30, public"
    origin.on_all(Reply(b"x", Cache_Control="private, max-age=5"))
    assert lab.ask(shield, "/private")["Cache-Control"] == "private, max-age=5"


def test_fields_both_ways(lab):
    origin = lab.origin()
    shield = routed(lab, origin, """
  - match: { path: '*' }
    request: { set: { Authorization: Basic eA==, X-Set: 1 }, remove: [X-Gone] }
    response: { set: { Server: shield }, add: { Link: "</a>; rel=preload" }, remove: [X-Powered-By] }
""")
    client = lab.client(shield).request("/x", X_Gone="1", X_Set="0", Accept="*/*")
    held = origin.expect("/x")
    assert (held.get("Authorization"), held.get("X-Set"), held.get("X-Gone"), held.get("Accept")) == \
        ("Basic eA==", "1", None, "*/*")
    held.respond(200, {"Cache-Control": "max-age=60", "Server": "x", "X-Powered-By": "y", "Link": "</b>"}, b"x")
    for answer in (client.response(), lab.ask(shield, "/x")):
        assert (answer["Server"], answer.get("X-Powered-By"), answer.body) == ("shield", None, b"x")
        assert b"Link: </b>\r\n" in answer.raw_head and b"Link: </a>; rel=preload\r\n" in answer.raw_head
    assert answer.cache["hit"]


def test_without_collapsing_each_miss_asks_for_itself(lab):
    origin = lab.origin()
    shield = routed(lab, origin, "  - { match: { path: '*' }, collapse: off }\n")
    crowd = lab.crowd(shield, 5).get("/x")
    held = [origin.expect("/x") for _ in range(5)]
    for request in held:
        request.respond(200, {"Cache-Control": "max-age=60"}, b"x")
    assert {a.body for a in crowd.responses()} == {b"x"}
    assert lab.ask(shield, "/x").cache["hit"] and origin.count() == 5
