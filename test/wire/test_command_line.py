"""The command line and the configuration file: the contract of the program's outside."""
import os
import re
import socket

import pytest

from scripted_origin import cacheable
from shield_process import run

ORIGIN = ["--origin", "http://127.0.0.1:1"]
ANYWHERE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


def write(tmp_path, text, name="shield.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_version_and_help():
    code, out, _ = run("-V")
    assert code == 0 and re.match(r"shield \S+", out)
    for flag in ("-h", "--help"):
        code, out, _ = run(flag)
        assert code == 0
        for word in ("--origin", "--listen", "--admin", "--store", "--workers", "--set", "-t", "-T", "store.ram",
                     "flight.waiter_timeout", "256m", "client.max_head", "head_timeout"):
            assert word in out, word


@pytest.mark.parametrize("args, told", [
    ([], "origin"),
    (["--nonsense"], "--nonsense"),
    (ORIGIN + ["extra"], "extra"),
    (ORIGIN + ["--listen"], "--listen"),
    (ORIGIN + ["--listen", "nonsense"], "nonsense"),
    (ORIGIN + ["--listen", "127.0.0.1:99999"], "99999"),
    (ORIGIN + ["--listen", "localhost:80"], "localhost"),
    (["--origin", "ftp://x"], "ftp://x"),
    (["--origin", "http://"], "http://"),
    (["--origin", "http://127.0.0.1:1/path"], "path"),
    (ORIGIN + ["--workers", "0"], "workers"),
    (ORIGIN + ["--workers", "x"], "workers"),
    (ORIGIN + ["--set", "store.ram"], "NAME=VALUE"),
    (ORIGIN + ["--set", "store.rum=1g"], "store.ram"),
    (ORIGIN + ["--set", "store.ram=1x"], "store.ram"),
    (ORIGIN + ["--set", "store.ram=1"], "store.ram"),
    (ORIGIN + ["--set", "client.idle_timeout=5"], "client.idle_timeout"),
    (ORIGIN + ["--set", "client.idle_timeout=-5s"], "client.idle_timeout"),
    (ORIGIN + ["--set", "cache.heuristic=maybe"], "cache.heuristic"),
    (ORIGIN + ["--set", "flight.finish=sometimes"], "never"),
    (ORIGIN + ["--admin", "0.0.0.0:0"], "token"),
    (["-c", "/nonexistent/shield.yaml"], "/nonexistent/shield.yaml"),
])
def test_bad_usage_is_2_and_names_what(args, told):
    code, out, err = run(*args)
    assert code == 2, err
    assert told in err and out == ""


@pytest.mark.parametrize("args", [
    ORIGIN + ["--tls-listen", "127.0.0.1:0", "--tls-cert", "a", "--tls-key", "b"],
    ["--origin", "https://127.0.0.1:1"],
])
def test_tls_is_not_built_yet(args):
    code, _, err = run(*args)
    assert code == 2 and "not built yet" in err


@pytest.mark.parametrize("text, line, column, told", [
    ("origins: { default: { servers: [http://127.0.0.1:1] } }\nstore:\n  sise: 1g\n", 3, 3, "store.size"),
    ("origins: { default: { servers: [http://127.0.0.1:1] } }\nstore: { size: 5x }\n", 2, 16, "5x"),
    ("origins: { default: { servers: [http://127.0.0.1:1] } }\nclient:\n  idle_timeout: fast\n", 3, 17, "fast"),
    ("origins: { default: { servers: [http://127.0.0.1:1, 'nonsense'] } }\n", 1, 53, "nonsense"),
    ("origins: { default: { servers: [http://127.0.0.1:1] } }\nworkers: [1]\n", 2, 10, "workers"),
    ("origins: { default: { servers: [http://127.0.0.1:1] } }\nworkers: 1\nworkers: 2\n", 3, 1, "twice"),
    ("a: [1\nb: 2\n", 2, None, ""),
    ("origins: { default: { servers: [https://127.0.0.1:1] } }\n", 1, 33, "not built yet"),
    ("listen:\n  - { address: ':1', tls: { certificate: a } }\n", 2, 22, "not built yet"),
    ("routes:\n  - { match: { path: /x }, cache: of }\n", 2, 35, "honour, off or force"),
])
def test_errors_of_a_file_have_a_place_and_a_remedy(tmp_path, text, line, column, told):
    path = write(tmp_path, text)
    code, _, err = run("-c", path, "-t")
    assert code == 2
    where = rf"{re.escape(path)}:{line}:{column if column else '[0-9]+'}: .*"
    found = re.search(where, err)
    assert found and told in err, err


def test_a_good_file_is_told_to_be_good(tmp_path):
    path = write(tmp_path, "origins: { default: { servers: [http://127.0.0.1:1] } }\n")
    assert run("-c", path, "-t")[0] == 0
    assert run(*ORIGIN, "-t")[0] == 0


def test_the_example_file_is_good():
    root = os.path.join(os.path.dirname(__file__), "..", "..")
    assert run("-c", os.path.join(root, "deploy", "shield.yaml"), "-t")[0] == 0


def test_the_effective_configuration_reads_back_the_same(tmp_path):
    path = write(tmp_path, "origins:\n  default:\n    servers: [http://a.test, http://b.test:81]\n    head_timeout: 1500ms\n"
                           "  other: { servers: ['http://c.test'], host: 'x.test' }\n"
                           "store: { size: 3g }\nlisten: [ '127.0.0.1:0', { address: '[::1]:0' } ]\nhosts: [a.test, b.test]\n")
    code, first, err = run("-c", path, "-T", "--set", "store.ram=123m", "--workers", "3")
    assert code == 0, err
    for line in ("ram: 123m", "size: 3g", "workers: 3"):
        assert line in first
    assert "b.test:81" in first and "1500ms" in first and "x.test" in first
    again = write(tmp_path, first, "again.yaml")
    code, second, err = run("-c", again, "-T")
    assert code == 0, err
    assert first == second


def test_flags_win_over_the_file(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("flag"))
    path = write(tmp_path, f"origins: {{ default: {{ servers: [{lab.dead_port().url}] }} }}\nnode: {{ name: file }}\n")
    shield = lab.shield(origin, sets={"node.name": "flag"}, args=["-c", path])
    answer = lab.ask(shield, "/x")
    assert answer.body == b"flag" and answer.cache["said_by"] == "shield-flag"


def test_the_file_alone_is_enough(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("x"))
    path = write(tmp_path, f"""
workers: 2
listen: [ "127.0.0.1:0" ]
admin: {{ address: "127.0.0.1:0" }}
store: {{ path: "{tmp_path}/store", size: 32m, ram: 16m }}
origins:
  default:
    servers: [ "{origin.url}" ]
""")
    shield = lab.shield(args=["-c", path], listen=[], workers=None)
    assert lab.ask(shield, "/x").body == b"x"
    assert os.path.isdir(tmp_path / "store")


def test_the_ready_line_has_the_real_ports(lab):
    shield = lab.shield("http://127.0.0.1:1", listen=["127.0.0.1:0", "127.0.0.1:0"])
    ports = [port for _, port in shield.listen] + [shield.admin[1]]
    assert len(set(ports)) == 3 and 0 not in ports
    assert len(re.findall(r"ready listen=", shield.log)) == 1


@pytest.mark.parametrize("which", ["--listen", "--admin"])
def test_a_port_in_use_is_1(which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        args = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", which: where}
        code, _, err = run(*ORIGIN, *[a for pair in args.items() for a in pair])
        assert code == 1 and where in err


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_an_error(lab, tmp_path):
    origin = lab.origin().on("/x", cacheable("x"))
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    shield = lab.shield(origin, listen=[f"unix:{path}"], workers=2)
    assert shield.listen == [path]
    assert lab.ask(path, "/x").body == b"x"
    code, _, err = run(*ORIGIN, "--listen", f"unix:{path}", "--admin", "127.0.0.1:0")
    assert code == 1 and path in err
    assert lab.ask(path, "/x").cache["hit"]


def test_a_unix_socket_never_replaces_a_file(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    code, _, err = run(*ORIGIN, "--listen", f"unix:{path}", "--admin", "127.0.0.1:0")
    assert code == 1 and str(path) in err
    assert path.read_text() == "data"


def test_the_access_log_must_be_writable(tmp_path):
    code, _, err = run(*ORIGIN, *ANYWHERE, "--set", f"access_log={tmp_path}/no/such/log")
    assert code == 1 and "no/such/log" in err
