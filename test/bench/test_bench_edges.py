"""Servers that do not behave, against `run`: each fault by its name, and nothing hangs."""
import contextlib
import signal
import socket
import struct
import subprocess
import threading

import pytest

from bench_tool import PATIENCE_S, TOOL, Origin, bench, bench_json
from faulty_proxy import FaultyProxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def server(serve):
    """A listener whose connections are given to serve(connection), each in a thread; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=attend, args=(connection,), daemon=True).start()

    def attend(connection):
        with connection, contextlib.suppress(OSError):
            serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    yield "http://127.0.0.1:%d/" % listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_later(connection):
    reset(connection)
    connection.recv(1000)


def say(text):
    def serve(connection):
        connection.recv(1000)
        connection.sendall(text)
    return serve


@pytest.mark.parametrize("serve,error", [
    (reset_later, "reset"),
    (say(b""), "reset"),
    (say(b"garbage\r\n\r\n"), "protocol"),
    (say(b"\0" * 200), "protocol"),
    (say(OK[:-1]), "cut"),
    (say(OK + b"more"), "protocol"),
    (say(OK.replace(b"200", b"503")), "status"),
], ids=["reset", "closed", "garbage", "zeros", "cut", "more", "status"])
def test_named(serve, error):
    with server(serve) as url:
        code, report = bench_json("run", "-c", "3", "-n", "12", "-o", "json", url)
    assert code == 1 and report["requests"] == 12
    assert {name: n for name, n in report["errors"].items() if n > 0} == {error: 12}


def test_reset_while_idle():
    """The reset is there before the request is due: it must not be waited for."""
    with server(reset) as url:
        code, report = bench_json("run", "-c", "1", "-R", "1", "-n", "1", "--settle", "300ms", "--timeout", "20s",
                                  "-o", "json", url)
    assert code == 1 and report["errors"]["timeout"] == 0 and report["elapsed_us"] < 10_000_000
    assert report["errors"]["reset"] == 1


def test_nobody_listens():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d/" % closed.getsockname()[1]
        code, report = bench_json("run", "-c", "2", "-n", "4", "-o", "json", url)
        assert code == 1 and report["errors"]["connect"] == 4
        code, report = bench_json("run", "--stampede", "-c", "5", "-o", "json", url)
        assert code == 1 and report["errors"]["connect"] == 5


@pytest.mark.parametrize("load", [("-c", "4"), ("-c", "4", "-t", "2", "-R", "200"), ("--stampede", "-c", "4")],
                         ids=["closed", "open", "stampede"])
def test_interrupted(load):
    """SIGINT gives the table so far."""
    asked = threading.Event()

    def mute(connection):
        if connection.recv(1000):
            asked.set()
        while connection.recv(1000):
            pass

    with server(mute) as url:
        run = subprocess.Popen([TOOL, "run", *load, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert asked.wait(PATIENCE_S)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130, err
    assert out.startswith("requests       0, 0 good") and "interrupted" in err


def test_waiters_in_an_open_loop():
    """200 ms of waiting for one fetch: those who came meanwhile are its waiters, those behind it are not."""
    with Origin() as origin:
        code, out, err = bench("run", "-c", "2", "-n", "20", "--verify", f"http://{origin.address}/a?size=1k")
        assert code == 0 and "waiters' first" not in out, err  # everybody has a fetch of his own
        proxy = FaultyProxy(origin.address, "none")
        code, report = bench_json("run", "-c", "100", "-R", "200", "-n", "100", "--verify", "-o", "json",
                                  f"http://{proxy.address}/b?size=1k&delay=200ms")
        proxy.close()
    assert code == 0 and report["ok"] == 100
    assert 1 <= report["wait_first_us"]["count"] == report["wait_last_us"]["count"] < 99


def test_a_page(tmp_path):
    page = tmp_path / "page.html"
    with Origin() as origin:
        code, _, err = bench("run", "-c", "2", "-d", "500ms", "--verify", "--origin", origin.address, "--html", str(page),
                             f"http://{origin.address}/a?size=1k")
    assert code == 0, err
    assert page.read_text().count("<svg") >= 2 and "nan" not in page.read_text().split("<svg", 1)[1]
    code, _, err = bench("run", "-n", "1", "--html", "/nowhere/page.html", "http://127.0.0.1:1/")
    assert code == 1 and "/nowhere/page.html: cannot be written" in err


def test_a_tenth_of_ten_connections_is_one():
    with Origin() as origin:
        _, report = bench_json("run", "--stampede", "-c", "10", "--slow", "10", "-o", "json", f"http://{origin.address}/a")
    assert report["ok"] == 10 and report["slow"] == 1
