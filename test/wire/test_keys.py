"""The cache key by route: what is keyed reaches the origin as it is keyed, and what is not keyed does not reach it."""
import signal

from http_text import request_bytes
from scripted_origin import Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}


def keyed(lab, origin, rule, **kw):
    """A shield with one route for all that has this rule."""
    file = lab.tmp_path / "shield.yaml"
    file.write_text(f"routes:\n  - {{ {rule} }}\n", encoding="ascii")
    return lab.shield(origin, args=("-c", str(file)), **kw)


def seen(origin):
    return [r.target for r in origin.requests()]


def tells(*names):
    """An origin's answer that says what these fields of the request were: what a cache may not mix up."""
    return lambda request: cacheable(repr([request.get(name) for name in names]))


# path and query

def test_a_dropped_query_is_no_other_key(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = keyed(lab, origin, "key: { query: drop }")
    for target in ("/a?x=1", "/a?y", "/a?", "/a", "http://edge.test/a?z"):
        assert lab.ask(shield, target).body == b"x"
    assert seen(origin) == ["/a"]


def test_a_crowd_with_a_campaign_each_is_one_fetch(lab):
    origin = lab.origin()
    shield = keyed(lab, origin, 'key: { query_sort: on, query_ignore: ["utm_*", fbclid] }')
    crowd = lab.crowd(shield, 100).send(
        lambda i: request_bytes(f"/p?{'utm_' if i % 2 else '%75tm%5f'}source={i}&b=1&fbclid={i}&a=2&a=1"))
    held = origin.expect("/p?a=2&a=1&b=1")
    shield.wait_metric("collapsed_requests_total", 99)
    held.respond(200, FRESH, b"one")
    assert all(a.body == b"one" for a in crowd.responses())
    assert lab.ask(shield, "/p?b=1&a=2&a=1").cache["hit"]
    assert origin.count() == 1


def test_only_allowed_parameters_reach_the_origin(lab):
    origin = lab.origin().on_all(lambda request: cacheable(request.target))
    shield = keyed(lab, origin, "key: { query_allow: [id, lang] }")
    assert lab.ask(shield, "/a?id=7&evil=%0d%0a&lang=de;x=1&callback=f").body == b"/a?id=7&lang=de;x=1"
    assert lab.ask(shield, "/a?&other&id=7&&lang=de;x=1&").cache["hit"]
    assert lab.ask(shield, "/a?lang=de;x=1&id=7").body == b"/a?lang=de;x=1&id=7"
    assert lab.ask(shield, "/a?none").body == b"/a"
    assert origin.count() == 3


def test_another_method_keeps_its_query_and_clears_what_a_get_has_stored(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = keyed(lab, origin, "key: { query_sort: on, query_ignore: [t] }")
    lab.ask(shield, "/a?b=1&a=2&t=1")
    assert lab.ask(shield, "/a?a=2&b=1").cache["hit"]
    lab.ask(shield, "/a?t=9&b=1&&a=2", "POST", body=b"new")
    assert "hit" not in lab.ask(shield, "/a?a=2&b=1").cache
    assert seen(origin) == ["/a?a=2&b=1", "/a?t=9&b=1&&a=2", "/a?a=2&b=1"]


def test_a_rewritten_path(lab):
    origin = lab.origin().on_all(lambda request: cacheable(request.target, Location="/old/x/other"))
    shield = keyed(lab, origin, 'rewrite: { from: "/old/*", to: "/new/*" }')
    assert lab.ask(shield, "/old/x?q").body == b"/new/x?q"
    assert lab.ask(shield, "/new/x?q").cache["hit"]
    assert lab.ask(shield, "/older").body == b"/older"
    lab.ask(shield, "/old/x/other")
    assert lab.ask(shield, "/new/x/other").cache["hit"]
    assert lab.ask(shield, "/old/x?q", "PUT", body=b"new").body == b"/new/x?q"
    assert "hit" not in lab.ask(shield, "/old/x?q").cache
    assert "hit" not in lab.ask(shield, "/old/x/other").cache


# headers

def test_a_keyed_header_is_a_key_and_reaches_the_origin(lab):
    origin = lab.origin().on_all(tells("X-Tenant", "X-Forwarded-Host", "X-Host"))
    shield = keyed(lab, origin, "key: { headers: [x-tenant, x-forwarded-host] }")
    requests = [{}, {"X_Tenant": ""}, {"X_Tenant": "a"}, {"X_Tenant": "b"}, {"X_Forwarded_Host": "a"},
                {"X_Forwarded_Host": "b", "X_Tenant": "a"}]
    for hit in (False, True):
        for fields in requests:
            answer = lab.ask(shield, "/x", X_Host="evil", **fields)
            wanted = [fields.get("X_Tenant"), fields.get("X_Forwarded_Host"), None]
            assert (answer.body.decode(), "hit" in answer.cache) == (repr(wanted), hit)
    assert origin.count() == len(requests)


def test_a_keyed_header_that_is_not_forwarded_poisons_nothing(lab):
    origin = lab.origin().on_all(tells("X-Tenant"))
    shield = keyed(lab, origin, "key: { headers: [x-tenant] }")
    assert lab.ask(shield, "/x", X_Tenant="a", Connection="x-tenant").body == b"[None]"
    assert lab.ask(shield, "/x", X_Tenant="a").body == b"['a']"
    assert lab.ask(shield, "/x").cache["hit"]


def test_a_value_too_long_for_a_key_passes(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = keyed(lab, origin, "key: { headers: [x-tenant] }")
    for _ in range(2):
        assert lab.ask(shield, "/x", X_Tenant="t" * 5000).cache_status == "shield; fwd=bypass"
    assert lab.ask(shield, "/x", X_Tenant="t" * 4000).cache_status == "shield; fwd=miss; stored"
    assert lab.ask(shield, "/x", X_Tenant="t" * 4000).cache["hit"]
    assert origin.count() == 3


def test_keys_survive_a_restart(lab):
    origin = lab.origin().on_all(tells("X-Tenant", "Cookie"))
    rule = "key: { headers: [x-tenant], cookies: [plan] }"
    shield = keyed(lab, origin, rule, store=lab.tmp_path / "store")
    users = [{}, {"X_Tenant": "\xff\xff\xff\xff"}, {"Cookie": "plan="}, {"X_Tenant": "a", "Cookie": "plan=b"}]
    bodies = [lab.ask(shield, "/x", **user).body for user in users]
    shield.wait_stored()
    shield.stop(signal.SIGKILL)
    shield = keyed(lab, origin, rule, store=lab.tmp_path / "store")
    for user, body in zip(users, bodies):
        answer = lab.ask(shield, "/x", **user)
        assert (answer.body, "hit" in answer.cache) == (body, True)
    assert origin.count() == len(users)


# cookies

def test_users_of_one_plan_share_and_nobody_else_does(lab):
    origin = lab.origin().on_all(tells("Cookie"))
    shield = keyed(lab, origin, "key: { cookies: [plan, lang] }")
    assert lab.ask(shield, "/x", Cookie="id=1; plan=pro; lang=de").body == b"['plan=pro; lang=de']"
    assert lab.ask(shield, "/x", Cookie="lang=de; id=2; plan=pro").cache["hit"]
    assert lab.ask(shield, "/x", Cookie="id=3; plan=free; lang=de").body == b"['plan=free; lang=de']"
    assert lab.ask(shield, "/x", Cookie="id=4").body == b"[None]"
    assert lab.ask(shield, "/x").cache["hit"]
    assert lab.ask(shield, "/x", Cookie="plan=").body == b"['plan=']"
    assert lab.ask(shield, "/x", "POST", Cookie="id=5; plan=pro", body=b"x").body == b"['id=5; plan=pro']"


def test_what_is_keyed_is_not_varied_on_again(lab):
    origin = lab.origin().on_all(lambda request: cacheable(repr(request.get("Cookie")), Vary="Cookie, Accept-Encoding"))
    shield = keyed(lab, origin, "key: { cookies: [plan] }")
    assert lab.ask(shield, "/x", Cookie="id=1; plan=pro").body == b"'plan=pro'"
    assert lab.ask(shield, "/x", Cookie="plan=pro; id=2").cache["hit"]
    assert lab.ask(shield, "/x", Cookie="id=3; plan=free").body == b"'plan=free'"
    assert "hit" not in lab.ask(shield, "/x", Cookie="plan=pro", Accept_Encoding="gzip").cache
    assert origin.count() == 3


def test_flights_tell_no_keyed_secrets(lab):
    origin = lab.origin()
    shield = keyed(lab, origin, "key: { cookies: [session] }")
    client = lab.client(shield).request("/x?q", Cookie="session=secret")
    held = origin.expect("/x?q")
    (flight,) = shield.flights()
    assert flight["key"] == "//edge.test/x?q"
    held.respond(200, FRESH, b"x")
    assert client.response().body == b"x"
    assert "secret" not in shield.log


# classes and scheme

def test_classes_are_a_few_keys_and_named_to_the_origin(lab):
    origin = lab.origin().on_all(tells("Shield-Class-device", "User-Agent"))
    shield = keyed(lab, origin, "key: { classes: { device: { header: user-agent, "
                                'values: { phone: "*Mobile*", robot: "*bot*" } } } }')
    assert lab.ask(shield, "/x", User_Agent="A Mobile bot").body == b"['phone', 'A Mobile bot']"
    assert lab.ask(shield, "/x", User_Agent="B Mobile").cache["hit"]
    assert lab.ask(shield, "/x", User_Agent="A bot").body == b"['robot', 'A bot']"
    assert lab.ask(shield, "/x", User_Agent="C", Shield_Class_Device="phone").body == b"[None, 'C']"
    assert lab.ask(shield, "/x").cache["hit"]
    assert origin.count() == 3


def test_the_scheme_of_a_trusted_edge_is_a_key(lab):
    origin = lab.origin().on_all(tells("X-Forwarded-Proto"))
    shield = keyed(lab, origin, "key: { scheme: on }", sets={"edges.trusted": "127.0.0.0/8"})
    assert lab.ask(shield, "/x", X_Forwarded_Proto="https").body == b"['https']"
    assert lab.ask(shield, "/x", X_Forwarded_Proto="HTTPS").cache["hit"]
    assert lab.ask(shield, "/x").body == b"['http']"
    assert lab.ask(shield, "/x", X_Forwarded_Proto="http").cache["hit"]
    assert lab.ask(shield, "/x", X_Forwarded_Proto="gopher").cache["hit"]
    assert origin.count() == 2


def test_nobody_else_says_the_scheme(lab):
    origin = lab.origin().on_all(tells("X-Forwarded-Proto"))
    shield = keyed(lab, origin, "key: { scheme: on }", sets={"edges.trusted": "192.0.2.0/24"})
    assert lab.ask(shield, "/x", X_Forwarded_Proto="https").body == b"['http']"
    assert lab.ask(shield, "/x").cache["hit"]


# revalidation and release

def test_a_validation_asks_as_the_key_says(lab):
    def answer(request):
        assert (request.target, request.get("Cookie"), request.get("X-Forwarded-Host")) == ("/x?a=1", "plan=pro", "h")
        if request.get("If-None-Match") == '"v1"':
            return Reply(status=304, ETag='"v1"', Cache_Control="max-age=60")
        return Reply("v1", ETag='"v1"', Cache_Control="max-age=0")

    origin = lab.origin().on_all(answer)
    shield = keyed(lab, origin, "key: { query_allow: [a], headers: [x-forwarded-host], cookies: [plan] }")
    for i in range(2):
        said = lab.ask(shield, f"/x?i={i}&a=1", Cookie=f"id={i}; plan=pro", X_Forwarded_Host="h")
        assert (said.status, said.body) == (200, b"v1")
    assert origin.count() == 2
    assert origin.requests()[1].get("If-None-Match") == '"v1"'


# several routes of one URI

def routed(lab, origin, *routes, **kw):
    file = lab.tmp_path / "shield.yaml"
    file.write_text("routes:\n" + "".join(f"  - {{ {route} }}\n" for route in routes), encoding="ascii")
    return lab.shield(origin, args=("-c", str(file)), **kw)


def test_routes_chosen_by_a_cookie_or_a_header_share_nothing(lab):
    """The origin is asked in another way for each."""
    origin = lab.origin().on_all(tells("X-Channel"))
    shield = routed(lab, origin, "match: { cookie: beta }, request: { set: { X-Channel: beta } }",
                    "match: { header: { X-App: '*' } }, request: { set: { X-Channel: app } }",
                    "match: { path: '*' }, request: { remove: X-Channel }")
    wanted = [({}, b"[None]"), ({"Cookie": "beta=1"}, b"['beta']"), ({"X_App": "2"}, b"['app']")]
    for _ in range(2):
        for fields, body in wanted:
            assert lab.ask(shield, "/x", **fields).body == body
    assert origin.count() == 3


def test_rewritten_paths_that_meet_share_only_what_is_asked_alike(lab):
    """Two routes with one path upstream: what one of them asks for or keeps in its own way is not the other's."""
    origin = lab.origin().on_all(tells("X-Tenant"))
    shield = routed(lab, origin,
                    "match: { path: /a/* }, rewrite: { from: /a/*, to: /t/* }, request: { set: { X-Tenant: a } }",
                    "match: { path: /b/* }, rewrite: { from: /b/*, to: /t/* }, request: { set: { X-Tenant: b } }",
                    "match: { path: /c/* }, rewrite: { from: /c/*, to: /t/* }")
    wanted = [("/a/x", b"['a']"), ("/b/x", b"['b']"), ("/c/x", b"[None]"), ("/t/x", b"[None]")]
    for _ in range(2):
        for target, body in wanted:
            assert lab.ask(shield, target).body == body
    assert origin.count() == 3


def test_what_one_route_keeps_by_force_is_no_other_routes(lab):
    origin = lab.origin().on_all(Reply(b"x", Cache_Control="private, max-age=60", Set_Cookie="a=1"))
    shield = routed(lab, origin, "match: { path: /f/* }, rewrite: { from: /f/*, to: /t/* }, cache: force, set_cookie: strip",
                    "match: { path: /s/* }, rewrite: { from: /s/*, to: /u/* }, set_cookie: store")
    assert lab.ask(shield, "/f/x").body == b"x" and lab.ask(shield, "/f/x").cache["hit"]
    assert "hit" not in lab.ask(shield, "/t/x").cache
    origin.on_all(Reply(b"x", Cache_Control="max-age=60", Set_Cookie="a=1"))
    assert lab.ask(shield, "/s/x").body == b"x" and lab.ask(shield, "/s/x").cache["hit"]
    assert "hit" not in lab.ask(shield, "/u/x").cache


def test_a_write_clears_what_its_location_names_by_the_route_of_that(lab):
    origin = lab.origin().on_all(cacheable("x"))
    shield = routed(lab, origin, "match: { path: /q/* }, key: { query: drop }",
                    "match: { path: /r/* }, rewrite: { from: /r/*, to: /up/* }")
    for target in ("/q/x?a=1", "/r/x"):
        assert lab.ask(shield, target).body == b"x" and lab.ask(shield, target).cache["hit"]
        origin.on("/form", Reply(b"made", Location=target))
        assert lab.ask(shield, "/form", "POST", body=b"new").body == b"made"
        assert "hit" not in lab.ask(shield, target).cache


def test_a_write_clears_what_a_get_has_stored_by_another_route(lab):
    origin = lab.origin().on_all(cacheable("x", ETag='"1"'))
    shield = routed(lab, origin, "match: { method: POST }, response: { set: { X-Write: 1 } }",
                    "match: { path: '*' }, key: { query_sort: on }")
    assert lab.ask(shield, "/x?b&a").body == b"x" and lab.ask(shield, "/x?b&a").cache["hit"]
    assert lab.ask(shield, "/x?b&a", "POST", body=b"new")["X-Write"] == "1"
    assert "hit" not in lab.ask(shield, "/x?b&a").cache
