"""Mixed garbage from clients and an origin for SOAK_SECONDS, while the shield reloads and others use it as they should: it
stays up, they notice nothing, and nothing is left behind."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bench_tool import TOOL, Origin
from patience import until

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
ROUND_S = 6 if SECONDS else 3
MEMORY_BYTES = 192 << 20
HERE = os.path.dirname(os.path.abspath(__file__))

CONFIG = """
access_log: {log}
origins:
  default: {{ servers: ['http://127.0.0.1:{bad}'], head_timeout: 1s, body_timeout: 1s, idle_timeout: 1s, down_after: 0 }}
  good: {{ servers: ['http://{good}'], idle_timeout: 1s }}
client: {{ head_timeout: 1s, body_timeout: 1s, idle_timeout: 1s, write_timeout: 2s, max_pipelined: {pipelined} }}
flight: {{ error_ttl: 50ms, error_ttl_max: 100ms, window: 256k, max_bytes_total: 64m }}
routes:
  - {{ name: good, match: {{ path: /good/* }}, origin: good }}
"""


def start(*args):
    return subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "garbage.py"), *map(str, args)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def report_of(process, timeout_s):
    out, _ = process.communicate(timeout=timeout_s)
    report = json.loads(out)
    assert process.returncode == 0
    return report


def good_clients(shield, targets):
    host, port = shield.address
    return subprocess.Popen([TOOL, "run", "-c", "8", "-R", "60", "-d", f"{ROUND_S}s", "--targets", targets, "--order", "random",
                             "--verify", "--timeout", "30s", "-o", "json", f"http://{host}:{port}/"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def open_files(shield):
    return len(os.listdir(f"/proc/{shield.process.pid}/fd"))


class World:
    """A shield, its two origins, and its configuration that changes with every reload."""

    def __init__(self, lab, tmp_path, good, disk):
        self.bad = start("origin", SEED)
        self.path, self.log = tmp_path / "shield.yaml", tmp_path / "access.log"
        self.names = {"good": good.address, "bad": self.bad.stdout.readline().strip(), "log": self.log}
        self.reloads = 0
        self.write()
        self.targets = tmp_path / "targets"
        self.targets.write_text("".join(f"/good/{i}?size={size}&cache-control=max-age=1&framing={framing}&etag=on\n" for i, (size, framing) in
                                        enumerate((s, f) for s in (0, 1, 1000, 70000, 300000) for f in ("length", "chunked", "close"))))
        self.shield = lab.shield(args=["-c", self.path], workers=2, store=tmp_path / "store" if disk else None)

    def write(self):
        self.path.write_text(CONFIG.format(pipelined=16 + self.reloads % 16, **self.names))

    def signal(self):
        self.reloads += 1
        self.write()
        self.shield.send_signal(signal.SIGHUP)
        if os.path.exists(self.log):
            os.replace(self.log, f"{self.log}.old")
        self.shield.send_signal(signal.SIGUSR1)

    def one_round(self, number):
        shield = self.shield
        clients = [start("clients", *shield.address, ROUND_S, SEED * 1000 + 2 * number + i) for i in range(2)]
        good = good_clients(shield, self.targets)
        while any(c.poll() is None for c in clients):
            self.signal()
            time.sleep(0.3)
            assert shield.is_alive()
        reports = [report_of(c, 60) for c in clients]
        out, err = good.communicate(timeout=ROUND_S * 40)
        assert good.returncode == 0, err
        said = json.loads(out)
        assert said["ok"] > 0 and not any(said["errors"].values()), said["errors"]
        for report in reports:
            assert not report["problems"], f"round {number}, SOAK_SEED={SEED}: {report['problems']}"
        shield.wait_metric("waiters", 0)
        shield.wait_metric("flights", 0)
        assert shield.metric("invariant_violations_total") == 0
        return reports


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="there is no /proc here")
@pytest.mark.parametrize("disk", [False, True])
def test_garbage(lab, tmp_path, disk):
    with Origin() as good:
        world = World(lab, tmp_path, good, disk)
        try:
            shield, counts, memory = world.shield, {}, []
            for _ in range(30):  # all loops: libuv opens a descriptor of its own at a loop's first connection
                assert lab.ask(shield, "/good/1?size=1000").status == 200
            before = open_files(shield)
            end, number = time.monotonic() + SECONDS, 0
            while number == 0 or time.monotonic() < end:
                for report in world.one_round(number):
                    for what, n in report["counts"].items():
                        counts[what] = counts.get(what, 0) + n
                memory.append(shield.rss_bytes(of_its_own=True))
                number += 1
                until(f"no descriptor is left of {open_files(shield)} - {before}", lambda: open_files(shield) <= before)
        finally:
            world.bad.stdin.close()
        origin = json.loads(world.bad.stdout.read())
        world.bad.stdout.close()
        world.bad.wait()
    print(f"{number} rounds, clients {counts}, origin {origin['counts']}, {world.reloads} reloads, "
          f"memory {[m >> 20 for m in memory[::max(1, len(memory) // 10)]]} MiB")
    assert not origin["problems"], f"SOAK_SEED={SEED}: {origin['problems']}"
    assert counts["200"] and counts["400"] and sum(counts.values()) > 100, counts
    assert not shield.is_plain or max(memory) < MEMORY_BYTES
