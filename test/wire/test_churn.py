"""Many more objects than the store has room for, of all sizes: nobody gets an error or a wrong byte, the directory never takes
more than store.size, what is wanted stays. A short part by itself; SOAK_SECONDS of it with 2 GiB and objects of up to 256 MiB."""
import json
import os
import random
import subprocess
import threading
import time
from bisect import bisect
from collections import Counter, OrderedDict
from itertools import accumulate

from bench_tool import TOOL, Origin

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
SIZE = (2 << 30) if SECONDS else (64 << 20)
STEP_BYTES = SIZE // 16  # asked for until all is on disk: what waits is in memory, and would be found there
ROUND_STEPS = 30
ALPHA = 0.9
SHAPE = 0.7  # of the sizes: bounded Pareto from 1 KiB to an eighth of the store
IDEAL = 0.85  # of the store, for an LRU of whole bodies
BELOW = 0.02  # how far below that LRU is good enough
SETS = {"store.size": SIZE, "store.ram": "4m", "origins.default.max_concurrent": 64}


class Catalogue:
    """Objects by popularity; ten times what fits. An object's size is drawn apart from its place."""

    def __init__(self, dice):
        mean = 0.7 / 0.3 * 1024 * ((SIZE / 8 / 1024) ** 0.3 - 1)
        self.dice = dice
        self.sizes = [self.size() for _ in range(int(10 * SIZE / mean))]
        self.shares = list(accumulate((i + 1) ** -ALPHA for i in range(len(self.sizes))))

    def size(self):
        tail = (1024 / (SIZE / 8)) ** SHAPE
        return int(1024 * (1 - self.dice.random() * (1 - tail)) ** (-1 / SHAPE))

    def some(self, n_bytes):
        """Requests in a row: numbers of objects."""
        asked = []
        while n_bytes > 0:
            asked.append(bisect(self.shares, self.dice.random() * self.shares[-1]))
            n_bytes -= self.sizes[asked[-1]]
        return asked


class Lru:
    def __init__(self, limit):
        self.limit, self.used, self.kept = limit, 0, OrderedDict()

    def ask(self, number, size):
        hit = number in self.kept
        if hit:
            self.kept.move_to_end(number)
        else:
            self.kept[number] = size
            self.used += size
        while self.used > self.limit:
            self.used -= self.kept.popitem(last=False)[1]
        return hit


class Watch:
    """Looks what the directory takes, as du does, all the time."""

    def __init__(self, path):
        self.path, self.most = path, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def look(self):
        files = [self.path] + [entry.path for entry in os.scandir(self.path)]
        self.most = max(self.most, sum(os.stat(file).st_blocks * 512 for file in files))

    def run(self):
        while not self.over.wait(0.05):
            self.look()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.look()


def ask_for(shield, tmp_path, catalogue, asked):
    """All of them in turn, over four connections, each body checked; gives the report."""
    targets = tmp_path / "targets"
    targets.write_text("".join(f"/{n}?size={catalogue.sizes[n]}&cache-control=max-age=86400\n" for n in asked))
    host, port = shield.address
    done = subprocess.run([TOOL, "run", "-c", "4", "-n", str(len(asked)), "--targets", targets, "--verify", "--timeout", "60s",
                           "-o", "json", f"http://{host}:{port}/"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"] == len(asked) and not any(report["errors"].values()), report["errors"]
    return report


def found_of(report):
    """With another's fetch, too: for an LRU that one was there."""
    return report["cache"]["hit"] + report["cache"]["collapsed"]


def one_round(shield, tmp_path, catalogue, lru):
    """Counts requests, what was found, and what the LRU finds."""
    counts = Counter()
    for _ in range(ROUND_STEPS):
        these = catalogue.some(STEP_BYTES)
        report = ask_for(shield, tmp_path, catalogue, these)
        counts += Counter(asked=len(these), found=found_of(report), ideal=sum([lru.ask(n, catalogue.sizes[n]) for n in these]))
        shield.wait_stored()
    return counts


def tell(shield, number, counts):
    n = counts["asked"]
    at = {name: shield.metric(name) for name in ("store_bytes", "store_shed_total", "store_commit_seconds_sum",
                                                 "store_commit_seconds_count")}
    commits = max(at["store_commit_seconds_count"], 1)
    print(f"churn {number}: {n} requests, {counts['found'] / n:.1%} found, LRU {counts['ideal'] / n:.1%}; "
          f"{at['store_bytes'] / SIZE:.1%} live, {at['store_shed_total']:.0f} shed, commits {at['store_commit_seconds_sum'] / commits * 1e3:.1f} ms, "
          f"evicted {shield.metric('evictions_total', tier='disk'):.0f}, rss {shield.rss_bytes() >> 20} MiB")


def test_churn(lab, tmp_path):
    catalogue = Catalogue(random.Random(SEED))
    lru, store = Lru(IDEAL * SIZE), tmp_path / "store"
    total, rounds = Counter(), 0
    end = time.monotonic() + SECONDS
    with Origin() as origin:
        shield = lab.shield(f"http://{origin.address}", store=store, sets=SETS)
        with Watch(store) as watch:
            while rounds < 2 or time.monotonic() < end:
                counts = one_round(shield, tmp_path, catalogue, lru)
                rounds += 1
                tell(shield, rounds, counts)
                if rounds > 1:  # the first fills the store
                    total += counts
        live = shield.metric("store_bytes")
        assert shield.metric("evictions_total", tier="disk") > 0
        assert shield.metric("store_errors_total") == 0 and shield.metric("store_shed_total") == 0
    assert watch.most <= SIZE, f"{watch.most - SIZE} bytes too many"
    assert 0.7 * SIZE < live <= IDEAL * SIZE
    assert total["found"] > total["ideal"] - BELOW * total["asked"], total
