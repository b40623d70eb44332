"""Old purges are forgotten when nothing older is stored: the space of what they purged comes back, and what they did
not name stays a hit."""
import json

import pytest

from scripted_origin import Reply


def answer_to(request):
    kind = request.target.split("/")[1]
    return Reply(request.target * 500, Cache_Control="max-age=3600", ETag='"1"', Surrogate_Key=kind)


def purge(shield, **order):
    status, text, _ = shield.admin_get("/purge", "POST", json.dumps(order))
    assert status == 200 and json.loads(text)["durable"], text


def fill(lab, shield, kinds, n=60):
    client = lab.client(shield)
    got = {kind: [client.ask(f"/{kind}/{i}") for i in range(n)] for kind in kinds}
    client.close()
    assert all(a.body == f"/{kind}/{i}".encode() * 500 for kind in kinds for i, a in enumerate(got[kind]))
    return got


@pytest.mark.parametrize("restart", [False, True])
def test_what_is_purged_leaves_the_disk_and_its_record_the_log(lab, tmp_path, restart):
    origin = lab.origin().on_all(answer_to)
    sets = {"store.keep_purges": "0" if not restart else "1h"}
    shield = lab.shield(origin, store=tmp_path / "store", sets=sets)
    if shield.admin_get("/purge", "POST", "{}")[0] == 501:
        pytest.skip("this shield cannot purge")
    kinds = ["hard", "soft", "kept"]
    fill(lab, shield, kinds)
    shield.wait_stored()
    assert shield.metric("store_objects") == 180
    purge(shield, tags=["hard"])
    purge(shield, tags=["soft"], soft=True)
    purge(shield, urls=["http://edge.test/nothing"])
    if restart:  # the pass is made by the next process
        assert shield.metric("purge_records") == 3
        shield.kill()
        shield = lab.shield(origin, store=tmp_path / "store", sets={"store.keep_purges": "0"})
    shield.wait_metric("purge_records", 0)
    assert shield.metric("store_objects") == 120
    for _ in range(2):
        asked = origin.count()
        got = fill(lab, shield, kinds)
        assert all("hit" in a.cache for a in got["kept"])
        if asked == 180:
            assert not any("hit" in a.cache for a in got["hard"])
            assert all(a.cache.get("fwd") == "stale" for a in got["soft"]), got["soft"][0].cache
            assert all(r.get("If-None-Match") == '"1"' for r in origin.requests()[180:] if r.target.startswith("/soft/"))
        else:
            assert all("hit" in a.cache for kind in kinds for a in got[kind])
        shield.wait_stored()
        shield.kill()
        shield = lab.shield(origin, store=tmp_path / "store", sets=sets)
        assert "aside" not in shield.log
