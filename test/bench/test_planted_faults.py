"""A fault planted in a proxy makes `run` exit 1 and name it; the same proxy without it passes."""
import sys

import pytest

from bench_tool import ROOT, Origin, bench, bench_json
from faulty_proxy import FAULTS, FaultyProxy

LOAD = ("-c", "8", "-n", "40", "--keys", "4", "--verify", "--max-fetches-per-epoch", "1")
SIZE = "size=20k"


@pytest.fixture(scope="module")
def origin():
    with Origin() as one:
        yield one


@pytest.fixture
def through(origin):
    """through(fault, *more options): exit code and JSON of a run through a proxy with it."""
    proxies = []

    def run(fault, *more, query=SIZE):
        proxies.append(FaultyProxy(origin.address, fault))
        return bench_json("run", *LOAD, *more, "-o", "json", "--origin", origin.address,
                          f"http://{proxies[-1].address}/{fault}-{len(proxies)}-{{n}}?{query}")

    yield run
    for proxy in proxies:
        proxy.close()


def test_no_fault(through):
    code, report = through("none")
    assert code == 0
    assert report["ok"] == 40 and sum(report["errors"].values()) == 0
    assert report["origin"]["fetches"] == 4 and report["origin"]["fetches_per_epoch"] == 1
    assert report["collapse"] == 10


def test_private_answers_are_no_fault(through):
    code, report = through("none", query="size=1k&cookie=unique")
    assert code == 0 and report["origin"]["fetches"] == 40


@pytest.mark.parametrize("fault,query,error", [
    ("wrong_body", SIZE, "wrong_body"),
    ("truncated", SIZE, "truncated"),
    ("cookie", SIZE + "&cookie=unique", "cookie"),
    ("unasked_part", SIZE, "protocol"),
])
def test_fault_is_named(through, fault, query, error):
    code, report = through(fault, query=query)
    assert code == 1
    named = {name for name, count in report["errors"].items() if count > 0}
    assert named == {error}


def test_another_clients_variant(through):
    """Whoever ignores Vary fetches less than he should: only the bytes tell."""
    query, vary = SIZE + "&vary=Accept-Language", ("--vary", "Accept-Language: de|fr|it")
    code, report = through("none", *vary, query=query)
    assert code == 0 and report["origin"]["fetches"] == 12
    code, report = through("variant", *vary, query=query)
    assert code == 1 and report["origin"]["fetches"] == 4
    assert report["errors"]["wrong_body"] > 0 and report["errors"]["wrong_body"] + report["ok"] == 40


def test_each_variant_has_a_leader(origin):
    _, report = bench_json("run", "--stampede", "-c", "30", "--verify", "--vary", "Accept-Language: de|fr|it", "-o", "json",
                           f"http://{origin.address}/leaders?{SIZE}&vary=Accept-Language")
    assert report["ok"] == 30 and report["wait_first_us"]["count"] == 27


def test_double_fetch(through):
    code, report = through("double_fetch")
    assert code == 1
    assert sum(report["errors"].values()) == 0
    assert report["origin"]["fetches_per_epoch"] == 2 and report["origin"]["epoch_fetches_max"] == 2
    assert report["origin"]["worst"].startswith("/double_fetch-")


def test_the_gate_says_so(origin):
    proxy = FaultyProxy(origin.address, "double_fetch")
    code, out, err = bench("run", *LOAD, "--origin", origin.address, f"http://{proxy.address}/said-{{n}}?{SIZE}")
    proxy.close()
    assert code == 1 and "gate max-fetches-per-epoch does not hold: 2.0000" in err
    assert "2.00 for each of 4 freshness epochs, at worst 2 of /said-" in out


PROXY = f"{sys.executable} -B {ROOT}/test/bench/faulty_proxy.py $BENCH_PORT $BENCH_ORIGIN"


def plant(tmp_path, run):
    """A peer `planted` among the peers of tmp_path."""
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/planted.sh").write_text(
        f"case $1 in\ncheck) echo planted ;;\ncan) echo ;;\nrun) {run} ;;\nesac\n")


@pytest.mark.parametrize("fault,gate", [("none", None), ("double_fetch", "fetches-per-epoch"),
                                        ("wrong_body", "failed"), ("truncated", "wrong")])
def test_as_a_peer(tmp_path, fault, gate):
    plant(tmp_path, f"exec {PROXY} {fault}")
    (tmp_path / "tiny").write_text("# tiny - a few clients.\norigin size=8k\nload --stampede -c 10 /cold\n"
                                   "gate fetches-per-epoch 1\ngate failed 0\ngate wrong 0\n")
    code, out, err = bench("compare", "--dir", str(tmp_path), "--gate", "planted", "--scenario",
                           str(tmp_path / "tiny"), "planted")
    assert (code, "does not hold" in out) == ((0, False) if gate is None else (1, True)), out + err
    assert gate is None or f"planted: gate {gate} does not hold" in out


def test_a_peer_that_ends(tmp_path):
    """The script's shell is the peer: it ends in the middle of the load, and says so."""
    plant(tmp_path, f"{PROXY} none & sleep 1; echo enough; exit 3")
    (tmp_path / "long").write_text("# long - longer than the peer.\norigin size=1k\nload -c 2 -R 50 -d 2500ms /a\n")
    code, out, err = bench("compare", "--dir", str(tmp_path), "--gate", "none", "--scenario", str(tmp_path / "long"),
                           "planted")
    assert code == 1 and "planted       left out: ended by itself while the load ran" in out
    assert "planted ended by itself; it said:\nenough" in err


def test_a_gate_without_its_origin():
    code, _, err = bench("run", "--max-fetches-per-epoch", "1", "http://127.0.0.1:1/")
    assert code == 2 and "--origin" in err


def test_a_log_is_replayed(origin, tmp_path):
    log = tmp_path / "access.log"
    log.write_text("".join('{"uri":"/replay-%d?size=1k","msec":%.3f}\n' % (i % 5, 1000 + i / 100) for i in range(50)))
    for speed, least_us in (("1", 490_000), ("2", 245_000)):
        code, report = bench_json("run", "-c", "4", "-t", "2", "--verify", "--targets", str(log), "--replay", speed,
                                  "--origin", origin.address, "-o", "json", f"http://{origin.address}/")
        assert code == 0 and report["mode"] == "open"
        assert report["requests"] == 50 and report["origin"]["fetches"] == 50
        assert report["elapsed_us"] >= least_us  # the last was not due earlier


def test_nothing_to_replay(origin, tmp_path):
    (tmp_path / "list").write_text("/a\n")
    code, _, err = bench("run", "--targets", str(tmp_path / "list"), "--replay", "1", f"http://{origin.address}/")
    assert code == 1 and "no times" in err
    code, _, err = bench("run", "--replay", "1", f"http://{origin.address}/")
    assert code == 2 and "--targets" in err
