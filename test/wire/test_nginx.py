"""A real nginx as edge and as origin, and curl as client."""
import os
import subprocess
import time

import pytest

from patience import LIFE_S, PATIENCE_S, outlive
from scripted_origin import Reply, cacheable


def curl(*args):
    done = subprocess.run(["curl", "-sS", "--max-time", str(int(PATIENCE_S)), *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr.decode()


def test_edges_that_miss_together_are_one_fetch(lab):
    origin = lab.origin()
    shield = lab.shield(origin, workers=2)
    edges = [lab.edge(shield) for _ in range(3)]
    body = os.urandom(1 << 20)
    crowds = [lab.crowd(edge.address, 30).get("/hot") for edge in edges]
    held = origin.expect("/hot")
    shield.wait_metric("collapsed_requests_total", 89)
    held.respond(200, {"Cache-Control": "max-age=60"}, body)
    for crowd in crowds:
        assert all(a.body == body and a.end == "clean" for a in crowd.responses())
    assert origin.count() == 1
    for edge in edges:
        assert lab.ask(edge.address, "/hot")["X-Edge-Cache"] == "HIT"
    shield.wait_metric("requests_total", 90)


def test_an_edge_keeps_its_connections(lab):
    origin = lab.origin().on_all(lambda request: cacheable(request.target))
    shield = lab.shield(origin)
    edge = lab.edge(shield)
    client = lab.client(edge.address)
    for i in range(50):
        assert client.ask(f"/bypass/{i}").body == f"/bypass/{i}".encode()
    assert shield.metric("client_connections_total") <= 4


def test_an_edge_validates_with_the_shield(lab):
    origin = lab.origin().on("/x", Reply("x", ETag='"v1"', Cache_Control=f"max-age={LIFE_S}"))
    shield = lab.shield(origin)
    edge = lab.edge(shield)
    lab.ask(edge.address, "/x")
    outlive(time.time(), LIFE_S + 1)
    origin.on("/x", Reply(status=304, ETag='"v1"', Cache_Control="max-age=60"))
    answer = lab.ask(edge.address, "/x")
    assert (answer.status, answer.body, answer["X-Edge-Cache"]) == (200, b"x", "REVALIDATED")


def test_an_edge_sees_a_cut_as_a_cut(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    edge = lab.edge(shield)
    client = lab.client(edge.address).request("/x")
    held = origin.expect("/x")
    held.send_head(200, {"Cache-Control": "max-age=60"}, chunked=True).chunk(b"half")
    client.body(4)
    held.reset()
    assert client.response().is_cut
    origin.on("/x", cacheable("whole"))
    assert lab.ask(edge.address, "/x").body == b"whole"


@pytest.mark.parametrize("workers", [1, 2])
def test_nginx_as_the_origin(lab, workers):
    nginx = lab.nginx_origin()
    body = os.urandom(3_000_000)
    nginx.write("big.bin", body)
    nginx.write("small.txt", b"hello")
    shield = lab.shield(nginx, workers=workers)
    answers = lab.crowd(shield, 100).get("/big.bin").responses()
    assert all(a.body == body and a.end == "clean" for a in answers)
    shield.wait_metric("origin_requests_total", 1)
    assert lab.ask(shield, "/small.txt").body == b"hello"
    answer = lab.ask(shield, "/small.txt")
    assert answer.cache["hit"] and answer["ETag"] and answer["Content-Type"] == "text/plain"
    assert lab.ask(shield, "/small.txt", If_None_Match=answer["ETag"]).status == 304
    part = lab.ask(shield, "/big.bin", Range="bytes=1000000-1000099")
    assert part.status == 206 and part.body == body[1000000:1000100]
    assert lab.ask(shield, "/missing").status == 404
    assert lab.ask(shield, "/big.bin", "HEAD")["Content-Length"] == "3000000"


def test_nginx_validates(lab):
    nginx = lab.nginx_origin()
    nginx.write("short/a.txt", b"version 1")
    shield = lab.shield(nginx)
    etag = lab.ask(shield, "/short/a.txt")["ETag"]
    outlive(time.time(), 1)
    answer = lab.ask(shield, "/short/a.txt")
    assert answer.cache_status == "shield; fwd=stale; fwd-status=304" and answer.body == b"version 1"
    outlive(time.time(), 1)
    nginx.write("short/a.txt", b"version two")
    answer = lab.ask(shield, "/short/a.txt")
    assert answer.body == b"version two" and answer["ETag"] != etag


def test_nginx_compresses(lab):
    nginx = lab.nginx_origin()
    text = b"all work and no play " * 5000
    nginx.write("chunked/a.txt", text)
    shield = lab.shield(nginx)
    url = f"http://127.0.0.1:{shield.address[1]}/chunked/a.txt"
    assert curl("--compressed", url) == (0, text, "")
    packed = lab.ask(shield, "/chunked/a.txt", host=f"127.0.0.1:{shield.address[1]}", Accept_Encoding="gzip, br")
    assert packed["Content-Encoding"] == "gzip" and len(packed.body) < len(text)
    for _ in range(2):
        assert curl(url) == (0, text, "")
        assert curl("--compressed", url) == (0, text, "")
    shield.wait_metric("origin_requests_total", 2)


def test_nginx_before_and_behind(lab):
    nginx = lab.nginx_origin()
    body = os.urandom(500_000)
    nginx.write("a.bin", body)
    shield = lab.shield(nginx, workers=2)
    edges = [lab.edge(shield) for _ in range(2)]
    crowds = [lab.crowd(edge.address, 50).get("/a.bin") for edge in edges]
    for crowd in crowds:
        assert all(a.body == body for a in crowd.responses())
    shield.wait_metric("origin_requests_total", 1)


def test_curl(lab, tmp_path):
    stored = []

    def answer(request):
        if request.method in ("PUT", "POST"):
            stored.append(request.read_body())
            return Reply("taken", 201)
        return cacheable("0123456789")
    origin = lab.origin().on_all(answer)
    path = str(tmp_path / "s.sock")
    shield = lab.shield(origin, listen=["127.0.0.1:0", f"unix:{path}"])
    url = f"http://127.0.0.1:{shield.address[1]}/x"
    assert curl(url) == (0, b"0123456789", "")
    assert curl("--http1.0", url)[1] == b"0123456789"
    assert curl("-r", "2-5", url)[1] == b"2345"
    assert b"Content-Length: 10\r\n" in curl("-I", url)[1]
    assert curl("--unix-socket", path, url)[1] == b"0123456789"
    assert curl(url, url, url)[1] == b"0123456789" * 3
    upload = tmp_path / "upload"
    upload.write_bytes(os.urandom(3_000_000))
    assert curl("-T", str(upload), url)[1] == b"taken"
    assert curl("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{upload}", url)[1] == b"taken"
    assert stored == [upload.read_bytes()] * 2


def test_curl_sees_a_cut(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    url = f"http://127.0.0.1:{shield.address[1]}/x"
    origin.on("/x", lambda request: request.send_head(200, {"Cache-Control": "max-age=60"}, length=10).send(b"half").close())
    assert curl(url)[0] in (18, 52, 56)
