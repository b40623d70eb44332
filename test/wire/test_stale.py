"""Stale answers: who gets them, while whom the origin is asked, and who must not."""
import time

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply

BRIEF = {"Cache-Control": f"max-age={LIFE_S}"}


def store_and_outlive(lab, shield, origin, fields, body=b"version 1", target="/x"):
    """Store `body`, and come back when it is stale; the next requests for it are held at the origin."""
    origin.on(target, Reply(body, headers=fields.items()))
    assert lab.ask(shield, target).cache_status == "shield; fwd=miss; stored"
    stored_at = time.time()
    origin.hold(target)
    outlive(stored_at, LIFE_S)


def test_no_answer_from_the_origin_and_no_validator_to_ask_with(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    store_and_outlive(lab, shield, origin, BRIEF)
    crowd = lab.crowd(shield, 20).get("/x")
    held = origin.expect("/x")
    shield.wait_metric("collapsed_requests_total", 19)
    held.reset()
    origin.expect("/x").reset()  # the first one went over a connection that was open already: it is repeated once
    for answer in crowd.responses():
        assert answer.status == 200 and answer.body == b"version 1"
        assert answer.cache["hit"] and answer.cache["ttl"] < 0 and answer["Cache-Control"] == "max-age=0"
    shield.wait_metric("waiter_fates_total", 20, fate="stale")
