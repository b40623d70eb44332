"""`compare` from end to end, with loads that take a second."""
import csv
import io
import signal
import subprocess

import pytest

from bench_tool import PATIENCE_S, ROOT, TOOL, bench, bench_json

SCENARIOS = {
    "cold": "origin size=16k&delay=50ms\nload --stampede -c 50 /cold\ngate fetches-per-epoch 1\ngate failed 0\n",
    "hot-key": "origin size=4k&delay=20ms&cache-control=max-age=1\nload -c 20 -R 0.2k -d 1500ms /hot\n"
               "gate fetches-per-epoch 1\ngate failed 0\n",
    "vary": "origin size=4k&delay=20ms&vary=Accept-Language\n"
            "load --stampede -c 30 --vary Accept-Language:de|fr|it /v\ngate fetches 3\ngate failed 0\n",
}


@pytest.fixture
def scenarios(tmp_path):
    for name, text in SCENARIOS.items():
        (tmp_path / name).write_text(f"# {name} - a small one.\n{text}")
    return ",".join(str(tmp_path / name) for name in SCENARIOS)


def test_shield_and_nginx(scenarios, tmp_path):
    log, page = tmp_path / "log.hdr", tmp_path / "page.html"
    code, report = bench_json("compare", "--dir", ROOT + "/bench", "-o", "json", "--hdr", str(log), "--html",
                              str(page), "--scenario", scenarios, "nginx", "shield")
    assert code == 0 and report["schema"] == "shield-bench/compare/1"
    assert [s["scenario"] for s in report["scenarios"]] == list(SCENARIOS)
    for scenario in report["scenarios"]:
        nginx, shield = scenario["peers"]
        assert [nginx["peer"], shield["peer"]] == ["nginx", "shield"]
        assert shield["origin"]["fetches_per_epoch"] == 1 and shield["gates_hold"] is True
        assert sum(shield["edges"]["errors"].values()) == 0
        assert shield["samples"][-1]["answers"] == shield["edges"]["requests"]
        assert shield["samples"][-1]["fetches"] == shield["origin"]["fetches"]
        assert "left_out" in nginx or nginx["edges"]["requests"] == shield["edges"]["requests"]
    cold, hot, vary = [s["peers"][1] for s in report["scenarios"]]
    assert cold["collapse"] == 50 and cold["edges"]["mode"] == "stampede"
    assert cold["edges"]["wait_last_us"]["count"] == 49
    assert hot["edges"]["mode"] == "open" and hot["edges"]["rate"] == 200
    assert vary["origin"]["fetches"] == 3 and vary["collapse"] == 10
    tags = [line.split(",")[0] for line in log.read_text().splitlines()[3:]]
    assert "Tag=cold.shield.first_byte" in tags and "Tag=hot-key.shield.last_byte" in tags
    assert "<svg" in page.read_text()


def test_csv(scenarios):
    code, out, err = bench("compare", "--dir", ROOT + "/bench", "-o", "csv", "--scenario", scenarios, "shield")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["scenario"] for row in rows] == list(SCENARIOS)
    assert all(row["peer"] == "shield" and row["failed"] == "0" and row["gates_hold"] == "1" for row in rows)
    assert rows[0]["fetches"] == "1" and rows[2]["fetches"] == "3"
    assert None not in rows[0] and None not in rows[0].values()


def test_a_gate_decides(scenarios, tmp_path):
    (tmp_path / "strict").write_text("# strict - what nobody can.\norigin size=1k\nload -n 5 /x\ngate fetches 0\n")
    code, out, _ = bench("compare", "--dir", ROOT + "/bench", "--scenario", str(tmp_path / "strict"), "shield")
    assert code == 1 and "shield: gate fetches does not hold: 1, at most 0" in out
    (tmp_path / "none").write_text("# none - of which nothing is good.\norigin status=500\nload -n 5 /x\n")
    _, out, _ = bench("compare", "--dir", ROOT + "/bench", "--scenario", str(tmp_path / "none"), "shield")
    row = next(line.split() for line in out.splitlines() if line.startswith("  shield  ") and " 5 " in line)
    assert row[1:3] == ["5", "5"] and row[7:11] == ["-"] * 4  # no time, not one of zero
    code, out, err = bench("compare", "--gate", "shiled", "shield")
    assert code == 2 and out == "" and "--gate shiled" in err


def test_a_file_that_cannot_be_written_is_told_before_anything_is_played(scenarios, tmp_path):
    nowhere = str(tmp_path / "none/page.html")
    code, out, err = bench("compare", "--dir", ROOT + "/bench", "--scenario", scenarios, "--html", nowhere, "shield")
    assert code == 1 and out == "" and "cannot be written" in err
    code, out, err = bench("run", "-n", "1", "--hdr", nowhere, "http://127.0.0.1:1/")
    assert code == 1 and out == "" and "cannot be written" in err


def test_interrupted(scenarios, tmp_path):
    """The scenarios before are printed, and stand in a whole page."""
    (tmp_path / "long").write_text("# long - longer than patience.\norigin size=1k\nload -c 1 -R 1 -d 1000s /a\n")
    page = tmp_path / "page.html"
    run = subprocess.Popen([TOOL, "compare", "--dir", ROOT + "/bench", "--html", page, "--scenario",
                            f"{tmp_path}/cold,{tmp_path}/long", "shield"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = ""
    while "up to" not in seen:  # the last line of cold's table but for its notes, of which it has none
        line = run.stdout.readline()
        assert line, run.stderr.read()
        seen += line
    while "<h2>cold" not in page.read_text():  # written after it was printed
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130 and "ended by signal" in err
    assert page.read_text().count("<h2>") == 1 and page.read_text().endswith("</body></html>\n")


def test_a_missing_peer_is_named(scenarios, tmp_path):
    code, out, _ = bench("compare", "--dir", ROOT + "/bench", "--scenario", str(tmp_path / "cold"), "nobody", "shield")
    assert code == 0 and "nobody" in out and "left out" in out
    code, out, _ = bench("compare", "--dir", ROOT + "/bench", "--gate", "nobody", "--scenario", str(tmp_path / "cold"),
                         "nobody")
    assert code == 1 and "left out" in out  # a CI whose peer is missing has shown nothing


def test_a_typing_error_is_found_before_anything_is_played(scenarios):
    code, out, err = bench("compare", "--dir", ROOT + "/bench", "--scenario", scenarios + ",nope", "shield")
    assert code == 1 and out == "" and "nope: cannot be read" in err


def test_rounds_and_events(tmp_path):
    page = tmp_path / "page.html"
    (tmp_path / "events").write_text("# events - what happens is noted.\norigin size=1k&cache-control=max-age=60\n"
                                     "load -c 4 -R 100 -d 800ms /e\nat 200ms refuse 100ms\nat 400ms restart KILL\n"
                                     "gate wrong 0\n")
    code, report = bench_json("compare", "--dir", ROOT + "/bench", "--rounds", "2", "-o", "json", "--html", str(page),
                              "--scenario", str(tmp_path / "events"), "shield")
    peer = report["scenarios"][0]["peers"][0]
    assert code == 0 and peer["gates_hold"] is True and peer["rounds"] == 2
    assert peer["samples"][-1]["answers"] == peer["edges"]["requests"] == 160
    assert [(e["what"], e["of"]) for e in peer["events"]] == [("refuse", "100ms"), ("restart", "KILL")]
    assert peer["events"][0]["at_ms"] >= 200 and peer["events"][1]["at_ms"] >= 400
    text = page.read_text()
    assert "collapse factor" in text and "restart KILL" in text and "class='mark'" in text
