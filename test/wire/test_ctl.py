"""shieldctl warm, deploy and top, and its help: what they do, what they say, how they exit."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios

import pytest

from patience import PATIENCE_S, until
from scripted_origin import Reply, cacheable
from shield_process import SHIELD
from test_ctl_orders import ctl

CTL = os.path.join(os.path.dirname(SHIELD), "shieldctl")
HOST = "http://edge.test"


@pytest.fixture
def origin(lab):
    return lab.origin().on_all(cacheable("x", Surrogate_Key="v42")).on("/bad", Reply("x", 500)).on("/no", Reply("x", Cache_Control="no-store"))


@pytest.fixture
def shield(lab, origin):
    return lab.shield(origin)


def list_of(tmp_path, *paths):
    path = tmp_path / "urls.txt"
    path.write_text("".join(f"{HOST}{p}\n" for p in paths))
    return path


# ---- warm

def test_warm(shield, origin, tmp_path):
    urls = list_of(tmp_path, "/a", "/b", "/no")
    assert ctl(shield, "warm", urls) == (0, "warm 1: 3 begun\n", "")
    until("it is over", lambda: not json.loads(shield.admin_get("/warm/1")[1])["running"])
    assert ctl(shield, "warm", urls, "--wait", "--pace", 1000) == (0, "warm 2: 3 of 3: 0 stored, 2 fresh, 1 uncacheable, 0 failed\n", "")
    assert json.loads(shield.admin_get("/warm/2")[1])["pace"] == 1000
    code, out, err = ctl(shield, "--json", "warm", urls, "--wait")
    assert code == 0 and json.loads(out)["fresh"] == 2 and err == ""
    assert json.loads(ctl(shield, "warm", "--json", urls)[1]) == {"warm": 4, "urls": 3}


def test_warm_from_stdin(shield):
    admin = "%s:%d" % shield.admin
    done = subprocess.run([CTL, "--admin", admin, "warm", "-", "--wait"], input=f"{HOST}/a\n".encode(), stdout=subprocess.PIPE, timeout=PATIENCE_S)
    assert done.returncode == 0 and b"1 stored" in done.stdout


def test_warm_by_a_sitemap(shield, origin):
    origin.on("/sitemap.xml", Reply(f"<urlset><url><loc>{HOST}/a</loc></url></urlset>"))
    for args in (["warm", HOST + "/sitemap.xml", "--wait"], ["deploy", "--warm", HOST + "/sitemap.xml", "--purge-all"]):
        code, out, err = ctl(shield, *args)
        assert code == 0 and out.endswith("1 of 1: 1 stored, 0 fresh, 0 uncacheable, 0 failed\n") and err == ""


def test_what_fails_is_told(shield, tmp_path):
    code, out, err = ctl(shield, "warm", list_of(tmp_path, "/a", "/bad"), "--wait")
    assert code == 1 and out == "warm 1: 2 of 2: 1 stored, 0 fresh, 0 uncacheable, 1 failed\n"
    assert err == f"shieldctl: {HOST}/bad: the origin answered with an error (status 500)\n"


def test_warming_that_is_cancelled(lab, shield, origin, tmp_path):
    origin.on_all(None)
    urls = list_of(tmp_path, *[f"/{i}" for i in range(5)])
    admin = "%s:%d" % shield.admin
    process = subprocess.Popen([CTL, "--admin", admin, "warm", urls, "--wait", "--pace", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    held = origin.expect("/0")
    assert shield.admin_get("/warm/1", "DELETE")[0] == 200
    held.respond()
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and b"cancelled" in err


@pytest.mark.parametrize("args, code, told", [
    (["warm"], 2, "give it a FILE, or - for stdin"), (["warm", "a", "b"], 2, "one word too many"),
    (["warm", "/nowhere/urls"], 1, "No such file"), (["warm", "/tmp"], 1, "give a file"),
    (["warm", "-"], 1, "nothing to warm"), (["warm", "-", "--pace", "0"], 2, "--pace"), (["warm", "-", "--pace", "99999"], 1, "pace"),
    (["warm", "-", "--tag", "t"], 2, "are for purge"), (["stats", "--pace", "5"], 2, "is for warm and deploy"),
    (["deploy"], 2, "say what: --purge-tag"), (["deploy", "--tag", "t"], 2, "are for purge"), (["deploy", "--over", "1m"], 2, "are for purge"),
    (["purge", "--purge-tag", "t"], 2, "are for deploy"), (["deploy", "--purge-url", "x"], 1, "urls[0]"),
    (["stats", "-n", "1"], 2, "are for top"), (["top", "-n", "0"], 2, "-n"), (["top", "--interval", "1ms"], 2, "at least 100ms"),
])
def test_what_is_wrong_is_said(shield, args, code, told):
    got, out, err = ctl(shield, *args)
    assert (got, out) == (code, "") and told in err and err.startswith("shieldctl: ")


def test_progress_on_a_terminal(shield, origin, tmp_path):
    origin.on_all(None)
    terminal = Terminal("--admin", "%s:%d" % shield.admin, "warm", str(list_of(tmp_path, "/1", "/2")), "--wait", "--pace", "1000")
    try:
        terminal.wait("\rwarm 1: 0 of 2: 0 stored, 0 fresh, 0 uncacheable, 0 failed\033\\[K")
        origin.expect("/1").respond(fields={"Cache-Control": "max-age=60"})
        terminal.wait("\rwarm 1: 1 of 2: 1 stored")
        origin.expect("/2").respond(fields={"Cache-Control": "max-age=60"})
        terminal.wait("\r\033\\[Kwarm 1: 2 of 2: 2 stored")
        assert terminal.process.wait(PATIENCE_S) == 0
    finally:
        terminal.close()


# ---- deploy

def test_deploy(lab, shield, origin, tmp_path):
    for target in ("/a", "/b"):
        lab.ask(shield, target)
    urls = list_of(tmp_path, "/a", "/b")
    code, out, err = ctl(shield, "deploy", "--purge-tag", "v42", "--warm", urls, "--pace", 1000)
    assert (code, out, err) == (0, "purge 1: in force\nwarm 1: 2 of 2: 2 stored, 0 fresh, 0 uncacheable, 0 failed\n", "")
    assert origin.count("/a") == 2
    assert "hit" in lab.ask(shield, "/a").get("Cache-Status")
    code, out, _ = ctl(shield, "--json", "deploy", "--purge-url", HOST + "/a", "--purge-host", "other.test", "--purge-prefix", "other.test/x",
                       "--soft", "--reference", "d1", "--warm", urls)
    said = json.loads(out)
    assert code == 0 and said["purge"] == {"purge": 2, "durable": True} and (said["warm"]["stored"], said["warm"]["fresh"]) == (1, 1)
    assert ctl(shield, "deploy", "--purge-all") == (0, "purge 3: in force\n", "")
    assert ctl(shield, "deploy", "--warm", urls)[1] == "warm 3: 2 of 2: 2 stored, 0 fresh, 0 uncacheable, 0 failed\n"


def test_deploy_that_fails(shield, origin, tmp_path):
    code, out, err = ctl(shield, "deploy", "--purge-tag", "v42", "--warm", list_of(tmp_path, "/bad"))
    assert code == 1 and out.startswith("purge 1: in force\nwarm 1: 1 of 1") and "/bad" in err
    code, out, err = ctl(shield, "deploy", "--purge-tag", "v42", "--warm", tmp_path / "missing")
    assert code == 1 and out == "purge 2: in force\n" and "No such file" in err
    code, out, err = ctl(shield, "deploy", "--purge-url", "/x", "--warm", list_of(tmp_path, "/a"))
    assert code == 1 and out == "" and origin.count("/a") == 0


# ---- top

def test_top_once(lab, shield):
    for _ in range(4):
        lab.ask(shield, "/a")
    code, out, err = ctl(shield, "top", "-n", 1, "--interval", "100ms")
    assert code == 0 and err == ""
    for word in ("shield ", "requests    0.0/s, hits -, of the misses collapsed -", "flights     0 now", "default"):
        assert word in out, out
    assert "\033" not in out


def test_top_in_json(shield):
    code, out, _ = ctl(shield, "top", "--json", "-n", 2, "--interval", "100ms")
    frames = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(frames) == 2
    assert {"requests_per_s", "hit_ratio", "collapse_ratio", "flights", "waiters", "origins", "results_per_s"} <= set(frames[0])
    assert frames[0]["hit_ratio"] is None and "default" in frames[0]["origins"]


class Terminal:
    def __init__(self, *args, rows=24, columns=80):
        self.ours, theirs = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = subprocess.Popen([CTL, *args], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, pattern):
        """What was shown up to `pattern`, which is taken off."""
        def probe():
            while select.select([self.ours], [], [], 0)[0]:
                self.seen += os.read(self.ours, 65536).decode()
            return re.search(pattern, self.seen, re.S)
        found = until(f"the terminal shows {pattern!r}", probe)
        self.seen = self.seen[found.end():]
        return found.group(0)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(shield):
    terminal = Terminal("--admin", "%s:%d" % shield.admin, "top", "--interval", "100ms")
    yield terminal
    terminal.close()


@pytest.mark.parametrize("key", [b"q", b"xQ", b"\x03"])
def test_top_on_a_terminal(terminal, key):
    terminal.wait("\033\\[2J\033\\[\\?25l.*requests .*\033\\[J")
    terminal.resize(6, 20)
    frame = terminal.wait("\033\\[H((?!\033\\[H).)*\033\\[J(?=\033\\[H((?!\033\\[H).)*\033\\[J)")
    frame = terminal.wait("\033\\[H((?!\033\\[H).)*\033\\[J")
    lines = frame.replace("\033[H", "").replace("\033[J", "").split("\033[K\r\n")
    assert len(lines) - 1 <= 5 and all(len(line) <= 20 for line in lines), frame
    os.write(terminal.ours, key)
    terminal.wait("\033\\[\\?25h")
    assert terminal.process.wait(PATIENCE_S) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_top_ends_with_the_shield(shield, terminal):
    terminal.wait("requests ")
    shield.stop()
    shield.check_end = lambda: []
    terminal.wait("shieldctl: .*is shield running.*\033\\[\\?25h")
    assert terminal.process.wait(PATIENCE_S) == 1


# ---- help

def commands():
    code, out, _ = ctl("127.0.0.1:1", "--help")
    assert code == 0
    return re.findall(r"^  ([a-z]+) ", out.split("Commands:")[1].split("\n\n")[0], re.M)


def test_every_command_has_help():
    assert {"stats", "top", "flights", "explain", "purge", "warm", "deploy", "reload", "drain", "version"} <= set(commands())
    for command in commands():
        for args in ((command, "--help"), ("--help", command), (command, "-h", "--json")):
            code, out, err = ctl("127.0.0.1:1", *args)
            assert code == 0 and err == "" and out.startswith(f"shieldctl {command}") and "--admin" in out
    assert "--purge-tag" in ctl("127.0.0.1:1", "deploy", "--help")[1] and "--tag" not in ctl("127.0.0.1:1", "warm", "--help")[1]
    assert ctl("127.0.0.1:1", "--version")[1].startswith("shieldctl ")
    assert ctl("127.0.0.1:1")[0] == 2 and ctl("127.0.0.1:1", "nothing")[0] == 2


def test_nobody_there(lab, tmp_path):
    address = lab.dead_port().url.removeprefix("http://")
    for args in (["warm", list_of(tmp_path, "/a")], ["deploy", "--purge-all"], ["top"]):
        code, out, err = ctl(address, *args)
        assert code == 1 and out == "" and "is shield running" in err
