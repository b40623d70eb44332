"""Answers of an origin that are whole, or have no content, or that nobody has asked for: which connections may carry the next
request, and that neither bytes behind a message nor fields of it get to anybody else (RFC 9112 section 6.3, RFC 9110)."""
import os
import signal

import pytest

from raw_answers import CHUNKED, EVIL, FOUR, LAST, OK, head, named
from scripted_origin import Reply, cacheable
from table_rig import answering


# answers that are whole, and what becomes of their connection

def old(raw):
    return raw.replace(b"HTTP/1.1", b"HTTP/1.0")


KEPT = [OK + FOUR, OK + b"Connection: keep-alive\r\n" + FOUR, OK + b"Connection: Keep-Alive, X\r\nX: 1\r\n" + FOUR,
        old(OK) + b"Connection: keep-alive\r\n" + FOUR, CHUNKED + b"4\r\nbody\r\n" + LAST, CHUNKED + b"0004\r\nbody\r\n000\r\n\r\n",
        CHUNKED + b"4 ; a = b ; c=\"d;\\\"e\r\"".replace(b"\r", b"") + b"\r\nbody\r\n" + LAST, OK + b"Content-Length: 0004\r\n\r\nbody",
        CHUNKED + b"1\r\nb\r\n1\r\no\r\n1\r\nd\r\n1\r\ny\r\n" + LAST, OK.replace(b"1.1", b"1.2") + FOUR, OK.replace(b" OK", b" ") + FOUR,
        OK + b"Transfer-Encoding: CHUNKED\r\n\r\n4\r\nbody\r\n" + LAST, OK + b"Content-Length:4\r\n\r\nbody",
        OK + b"Content-Length: \t 4 \t \r\n\r\nbody", OK + b"X:\r\nY: \xe4\xff\r\nZ: \"\\\"\r\n" + FOUR,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + FOUR, b"HTTP/1.1 199 Odd\r\nX: y\r\n\r\n" * 16 + OK + FOUR,
        OK + b"Keep-Alive: timeout=5\r\n" + FOUR, OK.replace(b" OK", b" \xe4\t!") + FOUR]

LET_GO = [(OK + b"Connection: close\r\n" + FOUR, "open"), (OK + b"Connection: X, CLOSE\r\n" + FOUR, "open"),
          (OK + b"Connection: keep-alive, close\r\n" + FOUR, "open"), (OK + b"Connection: keep-alive\r\nConnection: close\r\n" + FOUR, "open"),
          (old(OK) + FOUR, "open"), (old(OK) + b"Connection: close\r\n" + FOUR, "open"), (old(OK) + b"Connection: x\r\n" + FOUR, "open"),
          (OK + b"\r\nbody", "close"), (old(OK) + b"\r\nbody", "close"), (OK + b"Connection: keep-alive\r\n\r\nbody", "close"),
          (OK + FOUR + b"x", "open"), (OK + FOUR + b"\r\n", "open"), (OK + FOUR + EVIL, "open"), (OK + FOUR + b"\0", "open"),
          (CHUNKED + b"4\r\nbody\r\n0\r\n\r\n\r\n", "open"), (CHUNKED + b"4\r\nbody\r\n0\r\n\r\n" + EVIL, "open"),
          (CHUNKED + b"4\r\nbody\r\n0\r\nX: y\r\n\r\n0\r\n\r\n", "open"), (OK + FOUR, "close"), (CHUNKED + b"4\r\nbody\r\n" + LAST, "close"),
          (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\n" + OK + FOUR, "open"),
          (b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + OK + FOUR, "open")]


@pytest.mark.parametrize("raw", named(KEPT))
def test_a_whole_answer_is_stored_and_its_connection_kept(rig, raw):
    target, answer = rig.play(raw)
    assert (answer.status, answer.body, answer.end) == (200, b"body", "clean")
    again = rig.ask(target)
    assert again.cache["hit"] and again.body == b"body"
    other = rig.target()
    rig.origin.on(other, cacheable(other))
    assert rig.ask(other).body == other.encode()
    assert rig.connection(other) is rig.connection(target)


@pytest.mark.parametrize("case", named(LET_GO))
def test_a_whole_answer_is_stored_and_its_connection_let_go(rig, case):
    target, answer = rig.play(*case)
    assert (answer.status, answer.body, answer.end) == (200, b"body", "clean")
    rig.is_let_go(target)
    again = rig.ask(target)
    assert again.cache["hit"] and again.body == b"body"
    other = rig.target()
    rig.origin.on(other, cacheable(other))
    assert rig.ask(other).body == other.encode()


def test_an_end_by_reset_is_no_end(rig):
    target, answer = rig.play(OK + b"\r\nbody", "reset")
    assert answer.is_cut or answer.status == 502
    rig.is_not_kept(target)


# no content, whatever is said of it: the bait for a desync

NOTHING = [(204, "GET"), (304, "GET"), (200, "HEAD"), (404, "HEAD")]


def without_content(status, *lines):
    return b"\r\n".join([f"HTTP/1.1 {status} Said".encode(), *lines, b"", b""])


@pytest.mark.parametrize("status, method", NOTHING)
@pytest.mark.parametrize("behind", [b"evil", EVIL, b"4\r\nevil\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("line", [b"Content-Length: 4", b"Transfer-Encoding: chunked", b"X: y"], ids=bytes.decode)
def test_bytes_where_no_content_can_be(rig, status, method, behind, line):
    fields = {"If-None-Match": '"a"'} if status == 304 else {}
    target, answer = rig.play(without_content(status, line) + behind, "open", method, **fields)
    is_unasked = status == 304 and answer.status == 502  # its condition is ours to judge, and did not go upstream
    assert is_unasked or (answer.status, answer.body, answer.end) == (status, b"", "clean")
    rig.is_let_go(target)
    rig.is_not_kept(target)


@pytest.mark.parametrize("status, method", NOTHING)
@pytest.mark.parametrize("late", [b"evil", EVIL], ids=["bytes", "an answer"])
def test_bytes_that_come_later_where_no_content_can_be(rig, status, method, late):
    """They have come before the connection is used again: so it is not."""
    fields = {"If-Match": '"a"'} if status == 304 else {}
    target = rig.target()
    client = rig.lab.client(rig.shield).request(target, method, **fields)
    held = rig.origin.expect(target)
    held.send(without_content(status, b"Content-Length: 4"))
    assert client.response().status in (status, 502)
    client.close()
    try:
        held.send(late).finish()
    except OSError:
        held.close()
    rig.is_let_go(target)
    rig.is_not_kept(target)


@pytest.mark.parametrize("line, is_kept", [(b"X: y", True), (b"Content-Length: 0", True), (b"Content-Length: 4", False),
                                           (b"Transfer-Encoding: chunked", False)])
def test_a_204_that_promises_content_is_the_last_of_its_connection(rig, line, is_kept):
    """RFC 9110 section 8.6, RFC 9112 section 6.1: neither may be in it; whoever says so may send it, too."""
    target, answer = rig.play(without_content(204, line))
    assert (answer.status, answer.body, answer.end) == (204, b"", "clean")
    assert "Content-Length" not in answer.fields and "Transfer-Encoding" not in answer.fields
    if not is_kept:
        rig.is_let_go(target)
    rig.is_not_kept(target)
    requests = rig.origin.requests(target)
    assert (requests[0].connection is requests[1].connection) == is_kept


def test_a_205_has_the_content_that_is_framed(rig):
    target, answer = rig.play(b"HTTP/1.1 205 Reset\r\nContent-Length: 4\r\n\r\nbody")
    assert (answer.status, answer.body, answer.end) == (205, b"body", "clean")
    rig.is_not_kept(target)


# bytes that nobody has asked for

@pytest.mark.parametrize("late", [b"x", b"\r\n", EVIL, b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("end", ["open", "close", "reset"])
def test_bytes_on_an_idle_connection_end_it(rig, late, end):
    target = rig.target()
    client = rig.lab.client(rig.shield).request(target)
    held = rig.origin.expect(target)
    held.respond(200, {"Cache-Control": "max-age=60"}, b"body")
    assert client.response().body == b"body"
    client.close()
    other = rig.target()
    rig.origin.on(other, cacheable(other))
    answering(late, end)(held)
    assert rig.ask(other).body == other.encode()
    rig.is_let_go(target)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("late, end", [(EVIL, "open"), (EVIL, "close"), (b"", "close"), (b"", "reset")],
                         ids=["an answer", "an answer and the end", "the end", "a reset"])
def test_news_of_a_connection_come_before_the_next_request(rig, late, end, method):
    """What has come on an idle connection counts, though the loop hears first of the request that would take it."""
    one, two = rig.target(), rig.target()
    rig.origin.hold(one)
    client = rig.lab.client(rig.shield).request(one)
    held = rig.origin.expect(one)
    held.respond(200, {"Cache-Control": "max-age=60"}, b"one")
    assert client.response().body == b"one"
    rig.origin.on(two, cacheable(two))
    rig.shield.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, rig.shield.process.pid, os.WSTOPPED)
    client.request(two, method)
    answering(late, end)(held)
    rig.shield.send_signal(signal.SIGCONT)
    answer = client.response()
    client.close()
    assert (answer.status, answer.body) == (200, two.encode())
    rig.is_let_go(one)


# statuses

@pytest.mark.parametrize("raw", named([
    b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\n\r\n",
    b"HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-3/9\r\n" + FOUR,
    b"HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-3/4\r\n" + FOUR,
    b"HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\n" + FOUR,
]))
@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-3"}, {"Cookie": "a=b"}], ids=["plainly", "a range", "a cookie"])
def test_what_only_a_condition_or_a_range_may_bring_is_502(rig, raw, asked):
    """RFC 9110 sections 15.3.7, 15.4.5: ours was unconditional, and for the whole."""
    target, answer = rig.play(raw, **asked)
    assert answer.status == 502
    rig.is_not_kept(target)


@pytest.mark.parametrize("status", [400, 401, 406, 407, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426, 428, 429, 431, 511])
def test_a_fault_of_one_request_is_nobody_elses(rig, status):
    """RFC 6585 for 428, 429, 431 and 511; for the others what nobody's key tells apart may have been the fault."""
    target, answer = rig.play(head(f"HTTP/1.1 {status} Your fault".encode()))
    assert (answer.status, answer.body) == (status, b"body")
    rig.is_not_kept(target)


@pytest.mark.parametrize("line", [b"Set-Cookie: id=1", b"Vary: *", b"Cache-Control: private", b"Cache-Control: no-store"])
def test_connection_takes_nothing_from_under_us(rig, line):
    """RFC 9110 section 7.6.1: what a decision rests on stays, and holds, whatever Connection names."""
    name = line.split(b":")[0]
    for named_too in (name, name.lower(), b"close, " + name.upper(), b"x," + name + b",y"):
        target, answer = rig.play(head(b"HTTP/1.1 200 OK", line, b"Connection: " + named_too))
        assert answer.body == b"body" and line.split(b": ")[1].decode() in answer.fields.joined(name.decode())
        rig.is_not_kept(target)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding"])
def test_connection_cannot_change_the_framing(rig, name):
    raw = OK + f"Connection: {name}\r\n".encode() + (FOUR if name == "Content-Length" else
                                                     b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
    target, answer = rig.play(raw + EVIL)
    assert (answer.body, answer.end) == (b"body", "clean")
    rig.is_let_go(target)
    assert rig.ask(target).body == b"body"


@pytest.mark.parametrize("name, value", [("ETag", '"a"'), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("Age", "5"),
                                         ("Content-Encoding", "gzip"), ("Content-Type", "text/x"), ("Via", "1.1 inner")])
def test_connection_leaves_what_caches_need(rig, name, value):
    target, answer = rig.play(head(b"HTTP/1.1 200 OK", f"{name}: {value}".encode(), f"Connection: {name}".encode()))
    for got in (answer, rig.ask(target)):
        assert got.fields.joined(name).startswith(value) or int(got[name]) >= 5
    assert got.cache["hit"]


TRAILERS = ["Content-Length: 9", "Transfer-Encoding: chunked", "Set-Cookie: id=1", "Cache-Control: no-store", "Vary: *", "Host: evil",
            "Content-Type: text/evil", "Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Location: /evil", "Age: 9999",
            "Connection: close", "X-Evil: 1", "ETag: \"evil\"", "Trailer: X", "Cache-Status: evil; hit"]


@pytest.mark.parametrize("line", TRAILERS)
def test_a_trailer_is_no_field(rig, line):
    """RFC 9110 section 6.5.1: never merged, neither for who has waited nor for who finds it stored."""
    target, answer = rig.play(CHUNKED + b"4\r\nbody\r\n0\r\n" + line.encode() + b"\r\n\r\n")
    hit = rig.ask(target)
    assert hit.cache["hit"]
    name, _, value = line.partition(": ")
    for got in (answer, hit):
        assert (got.status, got.body, got.end) == (200, b"body", "clean")
        assert value not in got.fields.all(name) and "evil" not in str(got.fields)


def test_many_fields_cost_linear_time(rig):
    """A head within its bounds whose Connection names much is no work to speak of; beyond them it is refused."""
    names = b"Connection: " + b",".join(b"a%d" % i for i in range(200)) + b"\r\n"
    target, answer = rig.play(OK + names + b"".join(b"a%d: 1\r\n" % i for i in range(25)) + FOUR)
    assert answer.body == b"body" and not any(name.startswith("a") and name[1:].isdigit() for name, _ in answer.fields.lines)
    assert rig.ask(target).cache["hit"]
    target, answer = rig.play(OK + names * 3 + FOUR)
    assert answer.status == 502


# an answer before the request is whole

def test_an_early_answer_is_the_last_of_its_connection(rig):
    """RFC 9112 section 9.5: nobody reads the rest of that request, so nothing may come behind it."""
    target = rig.target()
    client = rig.lab.client(rig.shield)
    client.send(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf".encode(), ["POST"])
    held = rig.origin.expect(target)
    held.read_body(4)
    held.send(b"HTTP/1.1 403 No\r\n" + FOUR)
    assert client.head().status == 403
    held.wait_closed()
    client.close()
    rig.is_not_kept(target)


def test_the_validation_of_what_is_stored(rig):
    """RFC 9110 section 15.4.5, RFC 9111 section 3.2: a 304 may bring what stops sharing; the framing it names means nothing."""
    for line in (b"Set-Cookie: id=1", b"Cache-Control: no-store", b"Cache-Control: private", b"Vary: *"):
        target = rig.target()
        rig.origin.on(target, Reply("old", Cache_Control="max-age=0", ETag='"a"'))
        assert rig.ask(target).body == b"old"
        rig.origin.on(target, answering(without_content(304, line, b'ETag: "a"', b"Content-Length: 99"), "open"))
        answer = rig.ask(target)
        assert (answer.status, answer.body, answer.end) == (200, b"old", "clean")
        rig.is_not_kept(target)
