"""Clients that leave at any byte, an origin that breaks at any byte, for SOAK_SECONDS: nobody gets a wrong one, no
fetch runs twice, no flight is left behind, memory stays bounded."""
import json
import os
import random
import subprocess
import time

import pytest

from bench_tool import TOOL, Origin

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))  # at least one round
SEED = int(os.environ.get("SOAK_SEED", "1"))
ROUND_S = 5
MEMORY_BYTES = 96 << 20

CONTROLS = ["max-age=1", "max-age=1, stale-while-revalidate=1", "max-age=1, stale-if-error=2",
            "max-age=1, stale-while-revalidate=1, stale-if-error=2", "max-age=60", "no-cache", "no-store", "private",
            "max-age=1, must-revalidate", ""]
SETS = {"origins.default.head_timeout": "1s", "origins.default.body_timeout": "1s", "flight.error_ttl": "100ms",
        "flight.error_ttl_max": "500ms", "flight.uncacheable_ttl": "2s", "flight.window": "256k",
        "flight.max_bytes_total": "32m", "store.ram": "16m", "store.size": "64m", "cache.early_refresh": "1",
        "client.write_timeout": "2s", "origins.default.max_concurrent": "64", "origins.default.down_after": "0"}


def some_target(dice):
    """An object and how the origin misbehaves with it."""
    size = dice.choice([0, 1, 1000, 65520, 65521, 300_000, dice.randrange(3_000_000)])
    say = {"size": size, "framing": dice.choice(["length", "length", "chunked", "close"]),
           "cache-control": dice.choice(CONTROLS), "etag": dice.choice(["on", "on", "weak", "off"]),
           "delay": f"{dice.choice([0, 0, 20, 100])}ms", "drip": f"{dice.choice([0, 0, 100, 400])}ms",
           "rolling": dice.choice([0, 0, 5])}
    if dice.random() < 0.2:
        say["vary"] = "Accept-Language"
    trouble = dice.random()
    if trouble < 0.4 and say["framing"] != "close":
        say |= {"cut": dice.randrange(size + 1), "faulty": dice.choice([0, 1, 2, 3])}
    elif trouble < 0.5:
        say |= {"stall": dice.randrange(size + 1), "faulty": dice.choice([1, 2])}
    elif trouble < 0.6:
        say |= {"status": dice.choice([404, 500, 503]), "faulty": dice.choice([0, 2])}
    elif trouble < 0.65:
        say |= {"hang": "on", "faulty": 1}
    return f"/{dice.randrange(1 << 30)}?" + "&".join(f"{k}={v}" for k, v in say.items()).replace(" ", "%20")


def start_edges(shield, targets, seed):
    host, port = shield.address
    return subprocess.Popen(
        [TOOL, "run", "-c", "150", "-d", f"{ROUND_S}s", "--targets", targets, "--order", "zipf", "--verify", "--abort", "25",
         "--abort-after", "40ms", "--range", "20", "--slow", "3", "--churn", "20", "--vary", "Accept-Language: de|fr|it",
         "--timeout", "20s", "--seed", str(seed), "-o", "json", f"http://{host}:{port}/"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def one_round(shield, tmp_path, dice, number):
    targets = tmp_path / f"targets{number}"
    targets.write_text("".join(some_target(dice) + "\n" for _ in range(60)))
    edges = start_edges(shield, targets, dice.randrange(1 << 30))
    out, err = edges.communicate(timeout=ROUND_S * 40)
    assert edges.returncode in (0, 1) and b"Sanitizer" not in err, err
    report = json.loads(out)
    wrong = {kind: n for kind, n in report["errors"].items()
             if n and kind in ("wrong_body", "truncated", "protocol", "outdated", "cookie", "connect", "memory")}
    assert not wrong, f"round {number}, SOAK_SEED={SEED}: {wrong}"
    shield.wait_metric("waiters", 0)
    shield.wait_metric("flights", 0)
    assert shield.metric("invariant_violations_total") == 0
    assert shield.is_alive()
    return report


@pytest.mark.parametrize("disk", [False, True])
def test_every_fate(lab, tmp_path, disk):
    dice = random.Random(SEED)
    answers, memory = 0, []
    with Origin() as origin:
        shield = lab.shield(f"http://{origin.address}", workers=2, sets=SETS, store=tmp_path / "store" if disk else None)
        until = time.monotonic() + SECONDS
        number = 0
        while number == 0 or time.monotonic() < until:
            report = one_round(shield, tmp_path, dice, number)
            answers += report["ok"]
            memory.append(shield.rss_bytes(of_its_own=True))
            number += 1
        fates = {fate: shield.metric("waiter_fates_total", fate=fate)
                 for fate in ("served", "stale", "released", "varied", "error", "cut", "gone")}
        mended = shield.metric("resumes_total", outcome="mended")
        print(f"{number} rounds, {answers} answers, fates {fates}, mended {mended:.0f}, "
              f"memory {[m >> 20 for m in memory[::max(1, len(memory) // 10)]]} MiB")
        rare = ("stale", "varied") if number < 3 else ()
        assert all(n for fate, n in fates.items() if fate not in rare), fates
        assert not shield.is_plain or max(memory) < MEMORY_BYTES
