"""SIGKILL at any moment under full write load: what was committed is there, whole and right, what was purged stays
purged, and the next start serves at once. CRASH_ROUNDS rounds (`make soak`: 100 for each kind of store), each over the store of the last."""
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from bench_tool import TOOL, Origin

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
KEPT, PURGED = 60, 10
SIZES = [0, 1, 1000, 16384, 65520, 65521, 300_000, 1_500_000]
FRESH = "cache-control=max-age=3600"
ROOMY = {"store.size": "4g", "store.ram": "32m"}  # nothing is evicted before it is half full
TIGHT = {"store.size": "64m", "store.ram": "8m"}


def kept_target(number, i):
    return f"/kept/{number}/{i}?size={SIZES[i % len(SIZES)]}&tags=kept-{number}-{i}&{FRESH}"


def digest(answer):
    assert answer.status == 200 and answer.end == "clean", repr(answer)
    return hashlib.sha256(answer.body).digest()


def keep(lab, shield, number):
    """Objects that are committed before the load begins: {target: sha256}."""
    client = lab.client(shield)
    kept = {kept_target(number, i): None for i in range(KEPT)}
    for target in kept:
        kept[target] = digest(client.ask(target))
    client.close()
    shield.wait_stored()
    return kept


def start_load(shield, number):
    """New objects of all sizes, as fast as they come, read again over and over: most of it is writing."""
    host, port = shield.address
    return subprocess.Popen(
        [TOOL, "run", "-c", "24", "-d", "60s", "--keys", "3000", "--order", "zipf", "--verify", "--seed", str(number),
         "--timeout", "20s", "-o", "json",
         f"http://{host}:{port}/load/{number % 3}/{{n}}?size=60k&size-spread=pareto&{FRESH}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end_load(load):
    load.send_signal(signal.SIGINT)
    out, err = load.communicate(timeout=60)
    assert b"Sanitizer" not in err, err
    report = json.loads(out)
    wrong = {kind: n for kind, n in report["errors"].items() if n and kind in ("wrong_body", "protocol", "outdated")}
    assert not wrong, wrong
    return report


def purge_some(shield, dice, kept):
    """Purge, until the process dies under it, in every way; gives the targets whose purge was answered durable."""
    purged = []
    for target in dice.sample(sorted(kept), PURGED):
        tag = target.split("tags=")[1].split("&")[0]
        order = dice.choice([{"tags": [tag]}, {"urls": [f"http://edge.test{target}"]}])
        status, text, _ = shield.admin_get("/purge", "POST", json.dumps(order))
        assert status == 200 and json.loads(text)["durable"] is True, (status, text)
        purged.append(target)
    return purged


def check(lab, shield, kept, purged):
    """Gives the time from exec to the first hit."""
    client = lab.client(shield)
    first_hit_s = None
    for target, sha in kept.items():
        answer = client.ask(target)
        assert digest(answer) == sha, target
        assert ("hit" in answer.cache) == (target not in purged), (target, answer.cache)
        if first_hit_s is None and "hit" in answer.cache:
            first_hit_s = time.monotonic() - shield.started
    client.close()
    assert shield.metric("store_errors_total") == 0
    return first_hit_s


def end(lab, shield):
    """A round's shield is looked at now: two hundred logs need not wait for the end."""
    problems = shield.check_end()
    lab.shields.remove(shield)
    assert not problems, problems


def one_round(lab, shield, dice, number, sets, address):
    """Gives the shield that has taken the store up, and the times from its exec to ready and to the first hit."""
    store = lab.tmp_path / "store"
    is_roomy = sets is ROOMY
    kept = keep(lab, shield, number) if is_roomy else {}
    with_purges = kept and shield.admin_get("/purge", "POST", "{}")[0] != 501
    load = start_load(shield, number)
    shield.wait_metric("store_pending_objects", lambda n: n > 0)
    time.sleep(dice.random() * 0.7)  # a moment like any other
    purged = purge_some(shield, dice, kept) if with_purges else []
    shield.kill()
    report = end_load(load)
    end(lab, shield)

    again = lab.shield(f"http://{address}", store=store, workers=2, sets=sets)
    assert "aside" not in again.log, again.log
    ready_s = again.ready - again.started
    hit_s = check(lab, again, kept, purged)
    return again, ready_s, hit_s, report["ok"]


def of(times, share):
    return f"{sorted(times)[min(int(len(times) * share), len(times) - 1)] * 1000:.0f}"


@pytest.mark.parametrize("sets", [ROOMY, TIGHT], ids=["roomy", "evicting"])
def test_sigkill_under_full_write_load(lab, tmp_path, sets):
    dice = random.Random(SEED)
    readies, hits, answers = [], [], 0
    with Origin() as origin:
        shield = lab.shield(f"http://{origin.address}", store=tmp_path / "store", workers=2, sets=sets)
        for number in range(ROUNDS):
            shield, ready_s, hit_s, ok = one_round(lab, shield, dice, number, sets, origin.address)
            readies.append(ready_s)
            hits += [hit_s] if hit_s is not None else []
            answers += ok
            if sets is ROOMY and shield.metric("store_bytes") > 2 << 30:  # what is kept must not be evicted
                shield.kill()
                end(lab, shield)
                shutil.rmtree(tmp_path / "store")
                shield = lab.shield(f"http://{origin.address}", store=tmp_path / "store", workers=2, sets=sets)
    line = f"{ROUNDS} kills, {answers} answers under load, exec to ready {of(readies, 0.5)} ms (most {of(readies, 1)})"
    if hits:
        line += f", to the first hit {of(hits, 0.5)} ms (most {of(hits, 1)})"
    print(line)
