"""shieldctl purge, reload and drain: what they order, what they say, how they exit."""
import json
import os
import subprocess
import time

import pytest

from patience import PATIENCE_S
from scripted_origin import cacheable
from shield_process import SHIELD

URL = "http://edge.test"


def ctl(shield, *args):
    """(exit code, stdout, stderr)"""
    admin = shield if isinstance(shield, str) else "%s:%d" % shield.admin
    done = subprocess.run([os.path.join(os.path.dirname(SHIELD), "shieldctl"), "--admin", admin, *map(str, args)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def shield(lab):
    return lab.shield(lab.origin().on_all(cacheable("x")))


@pytest.mark.parametrize("args, logged", [
    (["--url", URL + "/a", "--url", URL + "/b"], "urls=2 mode=hard durable"),
    (["--prefix", "edge.test/a", "--tag", "t", "--host", "edge.test"], "prefixes=1 tags=1 hosts=1 mode=hard durable"),
    (["--all", "--soft"], "all=1 mode=soft durable"), (["--all", "--over", "10m"], "all=1 mode=soft over=10m"),
    (["--all", "--over", "10m", "--hard"], "all=1 mode=hard over=10m"),
    (["--tag", "two words \"quoted\" \\", "--reference", "v42"], 'tags=1 mode=hard durable=yes repeated=no reference="v42"'),
])
def test_purge(shield, args, logged):
    assert ctl(shield, "purge", *args) == (0, "purge 1: in force\n", "")
    shield.wait_log("purge: number=1 by=127.0.0.1 " + logged)


def test_what_is_purged_is_fetched_anew(lab, shield):
    origin = lab.origins[0]
    for _ in range(2):
        lab.ask(shield, "/a")
    assert origin.count() == 1
    assert ctl(shield, "purge", "--url", URL + "/a")[0] == 0
    lab.ask(shield, "/a")
    assert origin.count() == 2


def test_a_reference_and_json(shield):
    order = ["purge", "--tag", "t", "--reference", "once", "--json"]
    assert json.loads(ctl(shield, *order)[1]) == {"purge": 1, "durable": True}
    assert json.loads(ctl(shield, *order)[1]) == {"purge": 1, "durable": True, "repeated": True}
    assert ctl(shield, *order[:-1]) == (0, "purge 1: ordered before; in force\n", "")


def test_it_waits_for_the_end_of_a_paced_one(shield):
    began = time.monotonic()
    assert ctl(shield, "purge", "--all", "--over", "1s", "--wait")[0] == 0
    assert time.monotonic() - began >= 1
    assert ctl(shield, "purge", "--tag", "t", "--wait")[0] == 0


@pytest.mark.parametrize("args, code, told", [
    (["purge"], 2, "say what: --url, --prefix, --tag, --host or --all"),
    (["purge", "--wait"], 2, "say what"),
    (["purge", "http://a/"], 2, "one word too many"),
    (["purge", "--everything"], 2, "shieldctl --help lists what there is"),
    (["stats", "--tag", "t"], 2, "are for purge"),
    (["reload", "--wait"], 2, "are for purge"),
    (["purge", "--soft"], 1, "nothing to purge"),
    (["purge", "--url", "/a"], 1, "urls[0]: '/a' is no absolute URL; write http://HOST/PATH"),
    (["purge", "--all", "--over", "soon"], 1, "over: write"),
    (["purge", "--tag", b"\xff"], 1, "no UTF-8"),
])
def test_what_is_wrong_is_said(shield, args, code, told):
    admin = "%s:%d" % shield.admin
    done = subprocess.run([os.path.join(os.path.dirname(SHIELD), "shieldctl"), "--admin", admin, *args],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    assert done.returncode == code and done.stdout == b""
    assert told in done.stderr.decode() and "shieldctl:" in done.stderr.decode()
    assert "purge:" not in shield.log


def test_nobody_there(lab):
    address = lab.dead_port().url.removeprefix("http://")
    for command in (["purge", "--all"], ["reload"], ["drain"]):
        code, out, err = ctl(address, *command)
        assert code == 1 and out == "" and "is shield running" in err


def test_tokens(lab, tmp_path):
    tokens, mine = tmp_path / "tokens", tmp_path / "mine"
    tokens.write_text("everything-0123456789\nonly-tags-0123456789 purge:tag name=cms\n")
    mine.write_text("# mine\nonly-tags-0123456789 purge:tag name=cms\n")
    shield = lab.shield(lab.origin(), sets={"admin.token_file": tokens})
    shield.check_end = lambda: []
    code, _, err = ctl(shield, "purge", "--tag", "t")
    assert code == 1 and "give --token-file FILE" in err
    assert ctl(shield, "--token-file", mine, "purge", "--tag", "t")[0] == 0
    for command, scope in ((["purge", "--all"], "purge:all"), (["reload"], "config"), (["drain"], "config"), (["stats"], "read")):
        code, _, err = ctl(shield, "--token-file", mine, *command)
        assert code == 1 and f"lacks the scope {scope}" in err and "admin.token_file says what it may do" in err
    assert ctl(shield, "--token-file", tokens, "drain")[0] == 0
    assert shield.wait_exit() == 0


# ---- reload and drain

def test_reload(lab, tmp_path):
    config = tmp_path / "shield.yaml"
    config.write_text("purge: { max_items: 1 }\n")
    shield = lab.shield(lab.origin(), args=("-c", config))
    two = ["purge", "--tag", "a", "--tag", "b"]
    code, _, err = ctl(shield, *two)
    assert code == 1 and "purge.max_items" in err and "give less at a time" in err
    config.write_text("purge: { max_items: 2 }\n")
    assert ctl(shield, "reload") == (0, "reloaded\n", "")
    assert ctl(shield, *two)[0] == 0
    config.write_text("purge: { max_items: many }\n")
    code, _, err = ctl(shield, "reload")
    assert code == 1 and "shield.yaml:1:" in err and "nothing has changed" in err
    config.write_text("store: { size: 7g }\n")
    code, _, err = ctl(shield, "reload")
    assert code == 1 and "these need a restart: store.size" in err
    assert ctl(shield, *two)[0] == 0
    assert json.loads(shield.admin_get("/reload", "POST")[1])["error"]
    assert shield.admin_get("/reload")[0] == 405


def test_drain(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"drain_timeout": "1h"})
    client = lab.client(shield).request("/slow")
    held = origin.expect("/slow")
    for _ in range(2):  # the second time changes nothing
        assert ctl(shield, "drain", "--json") == (0, '{"draining":true}\n', "")
    assert shield.admin_get("/readyz")[0] == 503
    held.respond(200, {}, b"whole")
    assert client.response().body == b"whole"
    assert shield.wait_exit() == 0
