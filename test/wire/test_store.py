"""What is stored survives, and the store never hurts the traffic."""
import os
import signal
import socket
import time

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply, cacheable
from shield_process import run

SIZES = [0, 1, 1000, 16384, 65520, 65521, 300_000, 3_000_000]


def body_of(target):
    """A body that tells its target: the size is its number."""
    size = int(target.rsplit("/", 1)[1])
    return (target.encode() * (size // len(target) + 1))[:size]


def sized(request):
    return cacheable(body_of(request.target), 3600, ETag=f'"{request.target}"', X_Target=request.target)


def fill(lab, shield, targets):
    client = lab.client(shield)
    for target in targets:
        assert client.ask(target).body == body_of(target)
    client.close()


@pytest.mark.parametrize("how", ["TERM", "KILL"])
@pytest.mark.parametrize("workers", [1, 2])
def test_objects_survive_a_restart(lab, tmp_path, how, workers):
    origin = lab.origin().on_all(sized)
    targets = [f"/{i}/{size}" for i in range(10) for size in SIZES]
    shield = lab.shield(origin, store=tmp_path / "store", workers=workers)
    fill(lab, shield, targets)
    shield.wait_stored()
    assert shield.metric("store_objects") == len(targets)
    assert shield.kill() == -signal.SIGKILL if how == "KILL" else shield.stop() == 0

    again = lab.shield(origin, store=tmp_path / "store", workers=workers)
    client = lab.client(again)
    for target in targets:
        answer = client.ask(target)
        assert answer.body == body_of(target) and answer.end == "clean"
        assert answer.cache["hit"] and answer.cache["ttl"] > 3000
        assert answer["X-Target"] == target and answer["ETag"] == f'"{target}"'
        assert answer["Content-Length"] == str(len(body_of(target)))
    assert origin.count() == len(targets)
    assert again.metric("flights_started_total") == 0
    assert again.metric("store_objects") == len(targets)


def test_a_clean_stop_keeps_even_what_was_pending(lab, tmp_path):
    origin = lab.origin().on_all(sized)
    targets = [f"/{i}/20000" for i in range(200)]
    shield = lab.shield(origin, store=tmp_path)
    fill(lab, shield, targets)
    assert shield.stop() == 0
    again = lab.shield(origin, store=tmp_path)
    fill(lab, again, targets)
    assert origin.count() == len(targets)


def test_without_a_path_nothing_survives_and_nothing_is_written(lab):
    origin = lab.origin().on("/x", cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    assert lab.ask(shield, "/x").cache["hit"]
    assert shield.metric("store_pending_objects") == 0
    assert shield.stop() == 0
    assert "hit" not in lab.ask(lab.shield(origin), "/x").cache


def test_a_torn_object_is_never_seen(lab, tmp_path):
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path)
    client = lab.client(shield).request("/x")
    held = origin.expect("/x")
    held.send_head(200, {"Cache-Control": "max-age=3600"}, length=20 << 20).send(b"a" * (19 << 20))
    client.body(19 << 20)
    shield.kill()
    again = lab.shield(origin, store=tmp_path)
    origin.on("/x", cacheable("whole"))
    answer = lab.ask(again, "/x")
    assert answer.body == b"whole" and "hit" not in answer.cache
    assert again.metric("store_objects") <= 1


def test_variants_survive(lab, tmp_path):
    origin = lab.origin().on("/x", lambda request: Reply(request.get("Accept-Language"), Cache_Control="max-age=3600",
                                                         Vary="Accept-Language"))
    shield = lab.shield(origin, store=tmp_path)
    for language in ("en", "de"):
        lab.ask(shield, "/x", Accept_Language=language)
    shield.wait_stored()
    shield.kill()
    again = lab.shield(origin, store=tmp_path)
    for language in ("en", "de"):
        answer = lab.ask(again, "/x", Accept_Language=language)
        assert answer.body == language.encode() and answer.cache["hit"]
    assert lab.ask(again, "/x", Accept_Language="fr").body == b"fr"
    assert origin.count() == 3


def test_a_validation_survives(lab, tmp_path):
    origin = lab.origin().on("/x", Reply("version 1", Cache_Control=f"max-age={LIFE_S}", ETag='"v1"'))
    shield = lab.shield(origin, store=tmp_path)
    lab.ask(shield, "/x")
    shield.wait_stored()
    shield.kill()
    again = lab.shield(origin, store=tmp_path)
    outlive(time.time())
    origin.on("/x", Reply(status=304, Cache_Control="max-age=3600", ETag='"v1"', X_New="1"))
    answer = lab.ask(again, "/x")
    assert (answer.status, answer.body) == (200, b"version 1")
    assert origin.requests()[-1].get("If-None-Match") == '"v1"'
    assert again.stop() == 0
    third = lab.shield(origin, store=tmp_path)
    answer = lab.ask(third, "/x")
    assert answer.cache["hit"] and answer.body == b"version 1" and answer["X-New"] == "1"
    assert origin.count() == 2


def test_an_invalidation_survives(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("old", 3600))
    shield = lab.shield(origin, store=tmp_path)
    lab.ask(shield, "/x")
    shield.wait_stored()
    origin.on("/x", Reply("done"))
    assert lab.ask(shield, "/x", "POST", body=b"").status == 200
    shield.wait_stored()
    assert shield.stop() == 0
    again = lab.shield(origin, store=tmp_path)
    origin.on("/x", cacheable("new", 3600))
    assert lab.ask(again, "/x").body == b"new"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stampede_on_a_cold_object_on_disk_asks_nobody(lab, tmp_path, workers):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path, workers=workers)
    fill(lab, shield, ["/x/1000000"])
    shield.wait_stored()
    shield.kill()
    again = lab.shield(origin, store=tmp_path, workers=workers)
    for answer in lab.crowd(again, 200).get("/x/1000000").responses():
        assert answer.body == body_of("/x/1000000") and "hit" in answer.cache
    assert origin.count() == 1


def test_ranges_and_conditions_from_disk(lab, tmp_path):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path)
    fill(lab, shield, ["/x/1000000"])
    shield.wait_stored()
    shield.kill()
    again = lab.shield(origin, store=tmp_path)
    answer = lab.ask(again, "/x/1000000", Range="bytes=700000-700099")
    assert answer.status == 206 and answer.body == body_of("/x/1000000")[700000:700100]
    assert lab.ask(again, "/x/1000000", If_None_Match='"/x/1000000"').status == 304
    assert lab.ask(again, "/x/1000000", "HEAD")["Content-Length"] == "1000000"
    assert origin.count() == 1


def test_what_does_not_fit_into_memory_is_served_from_disk(lab, tmp_path):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path, sets={"store.ram": "16m", "store.size": "256m"})
    targets = [f"/{i}/1000000" for i in range(60)]
    fill(lab, shield, targets)
    shield.wait_stored()
    for _ in range(2):
        fill(lab, shield, targets)
    assert origin.count() == len(targets)
    assert shield.metric("evictions_total", tier="ram") > 0
    assert shield.metric("store_objects") == len(targets)
    assert shield.metric("store_ram_bytes") <= 17 << 20


def test_memory_alone_evicts(lab):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, sets={"store.ram": "16m"})
    fill(lab, shield, [f"/{i}/1000000" for i in range(60)])
    assert shield.metric("evictions_total", tier="ram") >= 40
    assert shield.metric("store_ram_bytes") <= 17 << 20
    fill(lab, shield, ["/hot/1000"])
    assert lab.ask(shield, "/hot/1000").cache["hit"]


def test_a_full_disk_store_evicts_and_goes_on(lab, tmp_path):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path, sets={"store.ram": "16m", "store.size": "64m"})
    for i in range(200):
        fill(lab, shield, [f"/{i}/1000000"])
    shield.wait_stored()
    assert shield.metric("evictions_total", tier="disk") > 0
    assert 30 << 20 <= shield.metric("store_bytes") <= 64 << 20
    used = sum(os.path.getsize(os.path.join(tmp_path, name)) for name in os.listdir(tmp_path))
    assert used <= (64 << 20) + (1 << 20)
    asked = origin.count()
    fill(lab, shield, ["/199/1000000"])
    assert origin.count() == asked, "the newest object is gone"
    assert shield.stop() == 0
    again = lab.shield(origin, store=tmp_path, sets={"store.ram": "16m", "store.size": "64m"})
    fill(lab, again, [f"/{i}/1000000" for i in range(200)])


def test_small_objects_fill_a_store_too(lab, tmp_path):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path, sets={"store.ram": "4m", "store.size": "16m"})
    fill(lab, shield, [f"/{i}/3000" for i in range(6000)])
    shield.wait_stored()
    assert shield.metric("store_bytes") <= 16 << 20
    assert shield.metric("evictions_total", tier="disk") > 0
    fill(lab, shield, [f"/{i}/3000" for i in range(5990, 6000)])
    assert shield.metric("store_errors_total") == 0


def test_what_is_too_large_to_keep_is_shared_and_not_stored(lab, tmp_path):
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path, sets={"store.object_max": "64k"})
    crowd = lab.crowd(shield, 20).get("/x/1000000")
    held = origin.expect("/x/1000000")
    shield.wait_metric("collapsed_requests_total", 19)
    held.reply(sized(held))
    for answer in crowd.responses():
        assert answer.body == body_of("/x/1000000") and answer.end == "clean"
        assert "stored" not in answer.cache
    assert origin.count() == 1
    origin.on_all(sized)
    assert "hit" not in lab.ask(shield, "/x/1000000").cache
    assert shield.metric("store_objects") == 0


def test_a_second_process_on_the_same_store_is_turned_away(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("x", 3600))
    shield = lab.shield(origin, store=tmp_path)
    lab.ask(shield, "/x")
    code, _, log = run("--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store", str(tmp_path))
    assert code == 1
    assert str(shield.process.pid) in log, log
    assert lab.ask(shield, "/x").cache["hit"]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "zeros in the middle"])
def test_a_damaged_file_is_set_aside_and_never_served(lab, tmp_path, damage):
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path)
    targets = [f"/{i}/100000" for i in range(30)]
    fill(lab, shield, targets)
    shield.wait_stored()
    assert shield.stop() == 0
    data = max((os.path.join(tmp_path, name) for name in os.listdir(tmp_path)), key=os.path.getsize)
    size = os.path.getsize(data)
    with open(data, "r+b") as f:
        if damage == "garbage":
            f.write(os.urandom(65536))
        elif damage == "truncated":
            f.truncate(size // 2)
        elif damage == "empty":
            f.truncate(100)
        else:
            f.seek(size // 4)
            f.write(bytes(size // 2))

    again = lab.shield(origin, store=tmp_path)
    if damage in ("garbage", "empty"):
        assert "aside" in again.log
    for _ in range(2):
        try:
            fill(lab, again, targets)
        except (AssertionError, OSError):
            # LMDB may abort on a bad tree page: at worst an exit, after which the next start sets the file aside.
            assert damage in ("truncated", "zeros in the middle") and not again.is_alive()
            again.kill()
            lab.shields.remove(again)
            again = lab.shield(origin, store=tmp_path)
            assert "aside" in again.log
            fill(lab, again, targets)
    again.wait_stored()
    asked = origin.count()
    fill(lab, again, targets)
    assert origin.count() == asked


@pytest.mark.parametrize("when", ["running", "started again"])
def test_a_damaged_chunk_is_a_miss_and_fetched_again(lab, tmp_path, when):
    """DESIGN section 5: never a wrong byte; who is within the body is cut, and the store drops the object for a new fetch."""
    body = os.urandom(3_000_000)
    origin = lab.origin().on("/x", cacheable(body, 3600))
    sets = {"store.ram": "2m", "store.size": "64m"}
    shield = lab.shield(origin, store=tmp_path, sets=sets)
    assert lab.ask(shield, "/x").body == body
    shield.wait_stored()
    if when == "started again":
        assert shield.stop() == 0
    data = max((os.path.join(tmp_path, name) for name in os.listdir(tmp_path)), key=os.path.getsize)
    with open(data, "r+b") as f:
        at = f.read().index(body[1_500_000:1_500_032])
        f.seek(at)
        f.write(bytes(byte ^ 1 for byte in body[1_500_000:1_500_032]))
    if when == "started again":
        shield = lab.shield(origin, store=tmp_path, sets=sets)

    assert lab.ask(shield, "/x").is_cut
    shield.wait_metric("store_objects", 0)
    answers = [lab.ask(shield, "/x") for _ in range(3)]
    assert all(a.body == body for a in answers)
    assert ["hit" in a.cache for a in answers] == [False, True, True]
    assert origin.count() == 2


def test_a_store_that_cannot_be_made_is_told_at_once(lab, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"not a directory")
    code, _, log = run("--origin", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store", str(path))
    assert code == 1 and str(path) in log


def test_the_directory_of_the_store_is_made(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("x"))
    lab.ask(lab.shield(origin, store=tmp_path / "new"), "/x")
    assert os.path.isdir(tmp_path / "new")


def test_what_is_stored_later_is_a_hit_meanwhile(lab, tmp_path):
    """No key is ever in neither tier."""
    origin = lab.origin().on_all(sized)
    shield = lab.shield(origin, store=tmp_path, sets={"store.ram": "1m"})
    client = lab.client(shield)
    for i in range(300):
        target = f"/{i}/200000"
        assert client.ask(target).body == body_of(target)
        answer = client.ask(target)
        assert answer.cache["hit"] and answer.body == body_of(target)
    assert origin.count() == 300
    shield.wait_stored()


def test_a_reader_keeps_what_has_left_memory_under_it_from_eviction(lab, tmp_path):
    """It began while the object was in memory; the object grew too large for that, was stored, and would be evicted."""
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store",
                        sets={"store.size": "16m", "store.ram": "1m", "store.object_max": "8m"})
    body = os.urandom(8_000_000)
    slow = lab.client(shield)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.request("/big")
    held = origin.expect("/big")
    held.send_head(200, {"Cache-Control": "max-age=60"}, chunked=True)
    held.chunk(body[:1000])
    slow.body(1000)
    held.chunk(body[1000:])  # the rest does not fit into the sockets
    held.last_chunk()
    shield.wait_stored()
    for i in range(30):
        origin.on(f"/{i}", cacheable(os.urandom(1_000_000)))
        assert len(lab.ask(shield, f"/{i}").body) == 1_000_000
    shield.wait_metric("evictions_total", lambda n: n > 10, tier="disk")
    answer = slow.response()
    assert answer.end == "clean" and answer.body == body


def test_a_purged_fetch_goes_on_for_a_reader_far_behind(lab, tmp_path):
    """What has left memory for the disk is still read from there, though the object is not kept (DESIGN section 7)."""
    size = 32 << 20
    body = bytes(range(256)) * (size // 256)
    origin = lab.origin().on("/y", cacheable(b"y"))
    shield = lab.shield(origin, store=tmp_path / "store", sets={"store.ram": "8m", "store.size": "256m"})
    slow = lab.client(shield)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.request("/x")
    held = origin.expect("/x")
    held.send_head(200, {"Cache-Control": "max-age=3600"}, length=size).send(body[:size // 2])
    shield.wait_metric("store_bytes", lambda n: n > 14 << 20)
    slow.head()  # and no more of it than the sockets hold
    assert shield.admin_get("/purge", "POST", '{"all":true}')[0] == 200
    held.send(body[size // 2:]).finish()
    shield.wait_metric("flights", 0)
    assert lab.ask(shield, "/y").body == b"y"
    shield.wait_stored()  # its commit is behind the end of the other's
    assert shield.metric("store_objects") == 1
    answer = slow.response()
    assert answer.end == "clean" and answer.body == body
