"""Requests with Authorization never share but where RFC 9111 section 3.5 permits."""
import pytest

from scripted_origin import Reply, cacheable


def greet(fields):
    return lambda request: Reply(request.get("Authorization", "nobody"), Cache_Control=fields)


@pytest.mark.parametrize("workers", [1, 2])
def test_they_never_join(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    clients = {who: lab.client(shield).request("/x", Authorization=who) for who in ("a", "b")}
    held = [origin.expect("/x"), origin.expect("/x")]
    anonymous = lab.client(shield).request("/x")
    held.append(origin.expect("/x"))
    assert sorted(r.get("Authorization", "") for r in held) == ["", "a", "b"]
    for request in held:
        request.reply(greet("max-age=60")(request))
    for who, client in clients.items():
        answer = client.response()
        assert answer.body == who.encode() and not answer.cache.keys() & {"collapsed", "stored", "hit"}
    assert anonymous.response().body == b"nobody"
    assert shield.metric("collapsed_requests_total") == 0


def test_their_answers_are_not_stored(lab):
    origin = lab.origin().on("/x", greet("max-age=60"))
    shield = lab.shield(origin)
    for who in ("a", "b", "a"):
        assert lab.ask(shield, "/x", Authorization=who).body == who.encode()
    assert lab.ask(shield, "/x").body == b"nobody"
    assert origin.count() == 4


@pytest.mark.parametrize("permits", ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"])
def test_what_permits_it_is_stored_and_reused(lab, permits):
    origin = lab.origin().on("/x", greet(permits))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x", Authorization="a").body == b"a"
    answer = lab.ask(shield, "/x", Authorization="b")
    assert answer.body == b"a" and answer.cache["hit"]
    assert lab.ask(shield, "/x").body == b"a"
    assert origin.count() == 1


def test_a_stored_answer_that_does_not_permit_it_is_not_used(lab):
    origin = lab.origin().on("/x", cacheable("for all"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    answer = lab.ask(shield, "/x", Authorization="a")
    assert "hit" not in answer.cache
    assert origin.count() == 2
    assert lab.ask(shield, "/x").cache["hit"]
