"""Real caches as edges: none keeps what the shield served stale as fresh, and a stampede through each is one fetch.

What the first of these tests is worth was seen by sending stale answers with their lifetimes as stored, and their
true Age. nginx, which does not count Age, then kept the stale body as fresh whatever had said its lifetime; Varnish did
where a targeted field or a guess of its own said it, Traffic Server where a guess did, Squid and HAProxy did not. With
max-age=0 but without X-Accel-Expires, nginx (proxy_cache_revalidate) still made its own stale copy fresh by each 304.
"""
import os
import time
from email.utils import formatdate

import pytest

import real_edges
from patience import LIFE_S, PATIENCE_S, outlive
from scripted_origin import Reply

LONG_S = 60

# How a response can say how long it lives: seconds and further directives in, fields out.
LIFETIMES = {
    "max-age": lambda s, more: {"Cache-Control": f"max-age={s}{more}"},
    "s-maxage": lambda s, more: {"Cache-Control": f"max-age={s}, s-maxage={s}{more}"},
    "expires": lambda s, more: {"Expires": formatdate(time.time() + s, usegmt=True), "Cache-Control": f"public{more}"},
    "cdn": lambda s, more: {"Cache-Control": f"max-age={s}{more}", "CDN-Cache-Control": f"max-age={s}{more}"},
    "surrogate": lambda s, more: {"Cache-Control": f"max-age={s}{more}",
                                  "Surrogate-Control": f"max-age={s}{'+3600' if s >= LONG_S else ''}{more}"},
    "x-accel": lambda s, more: {"Cache-Control": f"max-age={s}{more}", "X-Accel-Expires": s},
    "heuristic": lambda s, more: {"Last-Modified": formatdate(time.time() - 10 * s, usegmt=True),
                                  **({"Cache-Control": more[2:]} if more else {})},
}

# The origin's answers are its only failures: none is remembered, so that the shield asks again at once.
SETS = {"stale.obey_s_maxage": "off", "flight.error_ttl": "0", "flight.error_ttl_max": "0",
        "origins.default.down_after": "1m"}


@pytest.fixture(params=real_edges.KINDS)
def kind(request):
    if not real_edges.is_to_be_had(request.param):
        pytest.skip(f"Debian {real_edges.release()} has no package {request.param}")
    return request.param


def version(n, lifetime, seconds, more="", age_s=0):
    """An answer of the origin, made when it is asked; with an age, another cache stands before the origin."""
    above = {"Age": age_s, "Via": "1.1 above", "Cache-Status": "above; hit"} if age_s else {}
    return lambda request: Reply(f"version {n}", headers={**LIFETIMES[lifetime](seconds, more), **above}.items(),
                                 ETag=f'"v{n}"')


class Watch:
    """Asks the edge, and sees which requests come to the shield."""

    def __init__(self, lab, shield, edge):
        self.lab, self.shield, self.edge = lab, shield, edge
        self.due = 0

    def ask(self, target, method="GET", **kw):
        return self.lab.ask(self.edge.address, target, method, **kw)

    def all_come(self, n, what):
        """All requests so far have come to the shield, the last n of them about `what`."""
        self.due += n
        try:
            self.shield.wait_metric("requests_total", self.due, timeout_s=PATIENCE_S / 5)
        except AssertionError as e:
            raise AssertionError(f"{what}: not {n} requests came to the shield: {e}") from None

    def is_old_but_never_fresh(self, target):
        get = ("GET", {})
        requests = [get, get, ("GET", {"If_None_Match": '"v1"'}), get, ("GET", {"Range": "bytes=0-3"}), get,
                    ("HEAD", {}), get]
        answers = [self.ask(target, method, **kw) for method, kw in requests]
        self.all_come(len(requests), target)
        for (method, kw), answer in zip(requests, answers):
            allowed = {200: b"version 1"}
            if kw:
                allowed.update({206: b"vers", 304: b""})
            assert answer.status in allowed, (target, method, kw, answer)
            assert answer.body == (b"" if method == "HEAD" else allowed[answer.status]), (target, method, kw, answer)

    def is_new(self, target):
        assert self.lab.ask(self.shield, target).body == b"version 2"
        same = self.ask(target, If_None_Match='"v1"')
        assert (same.status, same.body) == (200, b"version 2"), (target, same)
        assert self.ask(target).body == b"version 2", target
        part = self.ask(target, Range="bytes=8-8")
        assert (part.status, part.body) in ((206, b"2"), (200, b"version 2")), (target, part)
        assert self.ask(target, "HEAD")["ETag"] == '"v2"', target


HOWS = {"unreachable": "", "broken": f", stale-if-error={LONG_S}", "refresh": f", stale-while-revalidate={LONG_S}"}


def lay(lab, watch, origin):
    """Version 1 under targets for each lifetime and reason to be served stale, stale now: what is under /warm/ was
    fetched through the edge, which has a stale copy too, and what is under /cold/ the shield has alone."""
    targets = []
    for lifetime in LIFETIMES:
        for how, more in HOWS.items():
            for edge_has in ("cold", "warm"):
                if (lifetime, edge_has) == ("heuristic", "warm"):
                    continue  # what it got fresh and without a lifetime it keeps for as long as it likes
                target = f"/{edge_has}/{lifetime}/{how}"
                targets.append((target, lifetime, how))
                origin.on(target, version(1, lifetime, LIFE_S, more))
                answer = watch.ask(target) if edge_has == "warm" else lab.ask(watch.shield, target)
                assert answer.body == b"version 1"
                watch.all_come(1, target)
    outlive(time.time(), LIFE_S + 1)  # nginx counts whole seconds
    return targets


def test_stale_stays_stale(lab, kind):
    origin = lab.origin()
    shield = lab.shield(origin, sets=SETS)
    watch = Watch(lab, shield, lab.edge(shield, kind))
    targets = lay(lab, watch, origin)
    for target, lifetime, how in targets:
        if how == "refresh":
            origin.hold(target)
        else:
            origin.on(target, Reply("broken", 503) if how == "broken" else lambda request: request.reset())
    for target, lifetime, how in targets:
        watch.is_old_but_never_fresh(target)
    for target, lifetime, how in targets:
        if how == "refresh":
            origin.expect(target).reply(version(2, lifetime, LONG_S)(None))
        origin.on(target, version(2, lifetime, LONG_S))
    shield.wait_metric("flights", 0)
    for target, lifetime, how in targets:
        watch.is_new(target)


def test_what_is_softly_purged_stays_stale(lab, kind):
    """It would have lived for long: only the shield knows that it does not."""
    origin = lab.origin()
    shield = lab.shield(origin, sets=SETS)
    watch = Watch(lab, shield, lab.edge(shield, kind))
    targets = [(f"/{lifetime}/{how}", lifetime, how) for lifetime in LIFETIMES for how in HOWS]
    for target, lifetime, how in targets:
        origin.on(target, version(1, lifetime, LONG_S - 1, HOWS[how]))  # at LONG_S, Surrogate-Control has a grace
        assert lab.ask(shield, target).body == b"version 1"
        watch.all_come(1, target)
    assert shield.admin_get("/purge", "POST", '{"all": true, "soft": true}')[0] == 200
    for target, lifetime, how in targets:
        if how == "refresh":
            origin.hold(target)
        else:
            origin.on(target, Reply("broken", 503) if how == "broken" else lambda request: request.reset())
    for target, lifetime, how in targets:
        watch.is_old_but_never_fresh(target)
    for target, lifetime, how in targets:
        if how == "refresh":
            origin.expect(target).reply(version(2, lifetime, LONG_S)(None))
        origin.on(target, version(2, lifetime, LONG_S))
    shield.wait_metric("flights", 0)
    for target, lifetime, how in targets:
        watch.is_new(target)


def test_what_is_fresh_is_kept_for_what_is_left_of_its_lifetime(lab, kind):
    """Fields leave untouched with what is fresh, and Age says how much of the lifetime is gone. nginx and HAProxy keep
    what they get for a whole lifetime from then on: behind them a body may be twice as old as the origin allows."""
    origin = lab.origin()
    shield = lab.shield(origin, sets=SETS)
    watch = Watch(lab, shield, lab.edge(shield, kind))
    for lifetime in LIFETIMES:
        if (kind, lifetime) == ("haproxy", "heuristic"):
            continue  # it makes a guess only about what has no Age
        origin.on(f"/young/{lifetime}", version(1, lifetime, LONG_S, age_s=1))  # HAProxy stores nothing with Age: 0
        assert lab.ask(shield, f"/young/{lifetime}").body == b"version 1"
        client = lab.client(watch.edge)  # for all three: to another connection a copy may come late
        assert [client.ask(f"/young/{lifetime}").body for _ in range(3)] == [b"version 1"] * 3
        watch.all_come(2, f"/young/{lifetime}")

    aged = ("max-age", "s-maxage", "expires")
    for lifetime in aged:
        origin.on(f"/aged/{lifetime}", version(1, lifetime, LONG_S, age_s=LONG_S - LIFE_S - 1))
        assert lab.ask(shield, f"/aged/{lifetime}").body == b"version 1"
        origin.on(f"/aged/{lifetime}", version(2, lifetime, LONG_S))
        watch.ask(f"/aged/{lifetime}")
        answer = watch.ask(f"/aged/{lifetime}")
        assert answer.body == b"version 1" and int(answer["Age"]) >= LONG_S - LIFE_S - 1
        assert answer.fields.joined("Via").startswith("1.1 above, 1.1 shield")
        assert answer.fields.joined("Cache-Status").startswith("above; hit, shield; ")
    outlive(time.time(), LIFE_S + 2)
    for lifetime in aged:
        assert lab.ask(shield, f"/aged/{lifetime}").body == b"version 2"
        told = b"version 2" if kind in real_edges.COUNTING_AGE else b"version 1"
        assert watch.ask(f"/aged/{lifetime}").body == told


def test_a_stampede_through_an_edge_is_one_fetch(lab, kind):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    edge = lab.edge(shield, kind)
    body = os.urandom(200_000)
    crowd = lab.crowd(edge.address, 200).get("/hot")
    held = origin.expect("/hot")
    if kind not in real_edges.SHARING_MISSES:
        shield.wait_metric("collapsed_requests_total", 199)
    fields = {"Cache-Control": f"max-age={LONG_S}", "Via": "1.1 above", "Cache-Status": "above; hit", "Age": 7}
    held.respond(200, fields, body)
    for answer in crowd.responses():
        assert (answer.status, answer.end) == (200, "clean") and answer.body == body
        assert answer.fields.joined("Via").startswith("1.1 above, 1.1 shield")
        assert answer.fields.joined("Cache-Status").startswith("above; hit, shield; fwd=miss")
    assert origin.count() == 1
    hit = lab.ask(edge.address, "/hot")
    assert hit.body == body and int(hit["Age"]) >= 7 and origin.count() == 1
