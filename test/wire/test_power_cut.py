"""The power goes: unsynced pages are lost, reordered or torn. Never a wrong byte, and what was synced is there."""
import json
import os
import random
import subprocess

import pytest

from http_text import BadMessage
from power_cut import Record
from preload import preload
from scripted_origin import Reply, cacheable

IMAGES = int(os.environ.get("POWER_CUTS", "8"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
SETS = {"store.size": "64m", "store.ram": "4m"}
SIZES = [0, 1, 900, 5000, 16384, 70_000, 300_000]
BATCHES, PER_BATCH = 12, 28


def body_of(target):
    size = int(target.rsplit("/", 1)[1])
    return random.Random(target).randbytes(size)


def answer_to(request):
    if request.method == "POST":
        return Reply("done")
    return cacheable(body_of(request.target), 3600, X_Target=request.target)


class Life:
    """What was done to the store, and how long the record was when it was known to be durable."""

    def __init__(self):
        self.stored = {}   # target: size of the record
        self.deleted = {}  # target: before that it began
        self.purged = {}   # target: size of the record


def live(lab, shield, log, dice):
    """Fill the store in batches, and remove some, so that pages are used again."""
    life = Life()
    client = lab.client(shield)
    with_purges = shield.admin_get("/purge", "POST", "{}")[0] != 501
    for batch in range(BATCHES):
        targets = [f"/{batch}/{i}/{SIZES[i % len(SIZES)]}" for i in range(PER_BATCH)]
        for target in targets:
            assert client.ask(target).body == body_of(target)
        shield.wait_stored()
        life.stored.update({target: os.path.getsize(log) for target in targets})
        for target in dice.sample(sorted(life.stored.keys() - life.deleted.keys()), PER_BATCH // 2):
            life.deleted[target] = os.path.getsize(log)
            if with_purges and dice.random() < 0.5:
                order = json.dumps({"urls": [f"http://edge.test{target}"]})
                status, text, _ = shield.admin_get("/purge", "POST", order)
                assert status == 200 and json.loads(text)["durable"], text
                life.purged[target] = os.path.getsize(log)
            else:
                assert client.ask(target, "POST", body=b"").status == 200
    client.close()
    return life


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """One life of a store under the recorder: its steps, and what was done."""
    from conftest import Lab
    directory = tmp_path_factory.mktemp("recorded")
    library = preload("record_writes", directory)
    lab = Lab(directory)
    log = directory / "writes"
    env = {"LD_PRELOAD": library, "RECORD_NAME": "/data.mdb", "RECORD_LOG": str(log)}
    shield = lab.shield(lab.origin().on_all(answer_to), store=directory / "store", sets=SETS, env=env)
    life = live(lab, shield, log, random.Random(SEED))
    assert shield.stop() == 0
    assert not lab.end()
    return Record(log), life


def ask_all(lab, shield, life):
    """The targets that are hits; every body is checked. None: the shield has ended."""
    hits = set()
    try:
        client = lab.client(shield)
        for target in life.stored:
            answer = client.ask(target)
            assert answer.body == body_of(target) and answer["X-Target"] == target, target
            if "hit" in answer.cache:
                hits.add(target)
        client.close()
    except (OSError, AssertionError, BadMessage):
        if not has_died(shield):
            raise
        return None
    return hits


def has_died(shield):
    """The connection ends a little before the process does."""
    try:
        return shield.wait_exit(2) != 0
    except subprocess.TimeoutExpired:
        return False


def start_on(lab, image, number):
    store = lab.tmp_path / f"store{number}"
    store.mkdir(exist_ok=True)
    (store / "data.mdb").write_bytes(image)
    return lab.shield(lab.origin().on_all(answer_to), store=store, sets=SETS)


def end(lab, shield):
    problems = shield.check_end()
    lab.shields.remove(shield)
    assert not problems, problems


def test_what_was_synced_is_there_after_a_power_cut(lab, recorded):
    record, life = recorded
    dice = random.Random(SEED + 1)
    for number in range(IMAGES):
        cut = dice.randrange(1, len(record.steps) + 1)
        reached = record.ends[cut - 1]
        shield = start_on(lab, record.image(cut, dice), number)
        if record.last_sync(cut - 1) > 0:  # before, it is no file yet
            assert "aside" not in shield.log, f"cut at step {cut}, SOAK_SEED={SEED}"
        hits = ask_all(lab, shield, life)
        wanted = {t for t, size in life.stored.items() if size < reached and life.deleted.get(t, reached) >= reached}
        gone = {t for t, size in life.purged.items() if size < reached}
        assert hits is not None and wanted <= hits, f"cut at step {cut}, SOAK_SEED={SEED}: {sorted(wanted - hits)[:5]}"
        assert not hits & gone, f"cut at step {cut}, SOAK_SEED={SEED}: {sorted(hits & gone)[:5]}"
        end(lab, shield)


def test_a_device_that_lies_about_syncs_costs_the_store_at_most(lab, recorded):
    """Pages are missing that LMDB was told are there. It may die of that, once."""
    record, life = recorded
    dice = random.Random(SEED + 2)
    exits = asides = 0
    for number in range(IMAGES):
        cut = dice.randrange(20, len(record.steps) + 1)
        try:
            shield = start_on(lab, record.image(cut, dice, lying=dice.randrange(1, 6)), number)
            hits = ask_all(lab, shield, life)
        except AssertionError as e:
            assert "the shield ended without logging" in str(e), f"cut at step {cut}, SOAK_SEED={SEED}: {e}"
            hits = None
        if hits is None:
            exits += 1
            store = lab.tmp_path / f"store{number}"
            if lab.shields:
                lab.shields.pop()
            shield = lab.shield(lab.origin().on_all(answer_to), store=store, sets=SETS)
            assert "aside" in shield.log, shield.log
            assert ask_all(lab, shield, life) is not None, f"cut at step {cut}, SOAK_SEED={SEED}: died twice"
        asides += "aside" in shield.log
        end(lab, shield)
    print(f"{IMAGES} images: {exits} exits, {asides} files set aside")
