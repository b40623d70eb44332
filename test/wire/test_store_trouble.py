"""The store's device fails, fills up, turns read-only or goes away: traffic goes on, coalesced, and it is said; when
it is over, storing goes on without a restart. What was purged meanwhile does not come back."""
import errno
import json
import os
import shutil

import pytest

from patience import until
from preload import preload
from scripted_origin import cacheable
from small_disk import SmallDisk


def body_of(target):
    size = int(target.rsplit("/", 1)[1])
    return (target.encode() * (size // len(target) + 1))[:size]


def answer_to(request):
    return cacheable(body_of(request.target), 3600)


def store_word(shield):
    """What /readyz?verbose says of the store; trouble with it never makes the shield unready."""
    status, text, _ = shield.admin_get("/readyz?verbose")
    assert status == 200
    return next(line for line in text.splitlines() if "store" in line)


def ask(lab, shield, target):
    answer = lab.ask(shield, target)
    assert answer.status == 200 and answer.body == body_of(target) and answer.end == "clean"
    return "hit" in answer.cache


def expect_traffic_goes_on(lab, shield, origin, name):
    """A crowd at a cold object is one fetch, and it is a hit from memory afterwards."""
    target = f"/{name}/70000"
    asked = origin.count()
    crowd = lab.crowd(shield, 30).get(target)
    assert all(a.body == body_of(target) for a in crowd.responses())
    assert origin.count() == asked + 1
    assert ask(lab, shield, target)


def meet_trouble(lab, shield, origin, name, words):
    """Ask for new objects until the store has noticed."""
    expect_traffic_goes_on(lab, shield, origin, name)
    until(f"/readyz says {words!r}", lambda: store_word(shield) == f"[-]store: {words}")
    expect_traffic_goes_on(lab, shield, origin, name + "/then")
    shield.wait_stored()
    assert len([line for line in shield.log.splitlines() if words in line and " error " in line]) == 1


def expect_healed(lab, shield, origin, name):
    until("the store is well", lambda: store_word(shield) == "[+]store ok", 60)
    target = f"/{name}/70000"
    before = shield.metric("store_objects")
    assert not ask(lab, shield, target)
    shield.wait_stored()
    assert shield.metric("store_objects") >= before + 1
    return target


def purges(shield):
    """Whether this shield can purge."""
    return shield.admin_get("/purge", "POST", "{}")[0] != 501


def purge(shield, target):
    url = f"http://edge.test{target}"  # the host that raw_client asks for
    status, text, _ = shield.admin_get("/purge", "POST", json.dumps({"urls": [url]}))
    return status, json.loads(text)["durable"]


class Switch:
    """A shield whose writes to its store fail at will."""

    def __init__(self, lab, origin):
        self.lab, self.origin = lab, origin
        self.store = lab.tmp_path / "store"
        self.file = lab.tmp_path / "switch"
        self.file.write_text("0")
        library = preload("fail_writes", lab.tmp_path)
        self.env = {"LD_PRELOAD": library, "FAIL_SWITCH": str(self.file), "FAIL_DIR": str(self.store)}

    def shield(self):
        return self.lab.shield(self.origin, store=self.store, env=self.env)

    def fail(self, number):
        new = self.lab.tmp_path / "switch.new"  # it is read at any time: never empty
        new.write_text(str(number))
        os.rename(new, self.file)


@pytest.mark.parametrize("number,words", [(errno.ENOSPC, "no space left on the store's device"),
                                          (errno.EROFS, "the store's file system is read-only"),
                                          (errno.EIO, "the store's device fails")])
def test_a_failing_device_hurts_no_traffic_and_heals(lab, number, words):
    origin = lab.origin().on_all(answer_to)
    switch = Switch(lab, origin)
    shield = switch.shield()
    assert not ask(lab, shield, "/before/70000")
    shield.wait_stored()
    switch.fail(number)
    meet_trouble(lab, shield, origin, "during", words)
    assert ask(lab, shield, "/before/70000")
    assert shield.metric("store_errors_total") > 0
    switch.fail(0)
    after = expect_healed(lab, shield, origin, "after")
    assert shield.kill()
    again = switch.shield()
    assert ask(lab, again, "/before/70000") and ask(lab, again, after)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("end", ["heals", "SIGKILL", "SIGTERM"])
def test_a_purge_that_cannot_be_made_durable(lab, number, end):
    """DESIGN section 7: in force, 507, nothing from disk until the log has caught up, or aside at the next start."""
    origin = lab.origin().on_all(answer_to)
    switch = Switch(lab, origin)
    shield = switch.shield()
    if not purges(shield):
        pytest.skip("this shield cannot purge")
    for target in ("/purged/70000", "/other/70000"):
        ask(lab, shield, target)
    shield.wait_stored()
    assert shield.stop() == 0
    shield = switch.shield()  # with an empty memory
    switch.fail(number)
    assert purge(shield, "/purged/70000") == (507, False)
    assert not ask(lab, shield, "/purged/70000") and not ask(lab, shield, "/other/70000")
    if end == "heals":
        switch.fail(0)
        until("the store is well", lambda: store_word(shield) == "[+]store ok", 60)
        shield.kill()
        again = switch.shield()
        assert "aside" not in again.log
        assert not ask(lab, again, "/purged/70000") and ask(lab, again, "/other/70000")
        return
    shield.kill() if end == "SIGKILL" else shield.stop()
    switch.fail(0)
    again = switch.shield()
    assert "aside" in again.log
    assert not ask(lab, again, "/purged/70000") and not ask(lab, again, "/other/70000")
    again.wait_stored()
    again.kill()
    assert ask(lab, switch.shield(), "/other/70000")


def test_a_full_disk_takes_purges_and_heals(lab):
    """A real one: what a commit of purges needs is kept free."""
    origin = lab.origin().on_all(answer_to)
    disk = SmallDisk(lab.tmp_path / "disk", "40m")
    lab.nginxes.append(disk)
    store = disk.path + "/store"
    sets = {"store.size": "256m"}
    shield = lab.shield(origin, store=store, sets=sets, wrapper=disk.wrapper)
    for i in range(20):
        ask(lab, shield, f"/before/{i}/70000")
    shield.wait_stored()
    assert disk.fill() > 1 << 20
    for i in range(20):  # what was kept free is enough for some
        ask(lab, shield, f"/more/{i}/300000")
    shield.wait_stored()
    meet_trouble(lab, shield, origin, "during", "no space left on the store's device")
    if purges(shield):
        for i in range(10):
            assert purge(shield, f"/before/{i}/70000") == (200, True)
    assert ask(lab, shield, "/before/19/70000")
    shield.kill()
    shield = lab.shield(origin, store=store, sets=sets, wrapper=disk.wrapper)
    assert "aside" not in shield.log
    assert ask(lab, shield, "/before/19/70000")
    if purges(shield):
        assert not ask(lab, shield, "/before/0/70000")
    disk.free()
    expect_healed(lab, shield, origin, "after")


def test_a_directory_that_goes_away_and_comes_back(lab):
    origin = lab.origin().on_all(answer_to)
    store, away = lab.tmp_path / "store", lab.tmp_path / "away"
    shield = lab.shield(origin, store=store)
    ask(lab, shield, "/before/70000")
    shield.wait_stored()
    os.rename(store, away)
    meet_trouble(lab, shield, origin, "during", "the store's file is gone")
    os.rename(away, store)
    after = expect_healed(lab, shield, origin, "after")
    shield.kill()
    again = lab.shield(origin, store=store)
    assert "aside" not in again.log
    assert ask(lab, again, "/before/70000") and ask(lab, again, after)


@pytest.mark.parametrize("how", ["emptied", "made anew"])
def test_a_directory_that_is_lost(lab, how):
    origin = lab.origin().on_all(answer_to)
    store = lab.tmp_path / "store"
    shield = lab.shield(origin, store=store)
    ask(lab, shield, "/before/70000")
    shield.wait_stored()
    if how == "made anew":
        shutil.rmtree(store)
        meet_trouble(lab, shield, origin, "during", "the store's file is gone")
        store.mkdir()
    else:
        for name in os.listdir(store):
            os.unlink(store / name)
        shield.wait_log("the store's file is gone")
    after = expect_healed(lab, shield, origin, "after")
    shield.kill()
    again = lab.shield(origin, store=store)
    assert "aside" not in again.log
    assert ask(lab, again, after)
