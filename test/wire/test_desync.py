"""Many clients over few origin connections that carry one request after another, and an origin that breaks off, says too much or
says nonsense, at random: each answer is its own client's, or an error, or visibly cut. SOAK_SECONDS makes it longer."""
import os
import random
import threading
import time

import pytest

from http_text import BadMessage, chunk, request_bytes
from raw_client import Client
from scripted_origin import head_bytes

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))  # at least one round
SEED = int(os.environ.get("SOAK_SEED", "1"))
CLIENTS, REQUESTS = 8, 60
READ_BYTES = 65536  # as much as the shield reads at once
SIZES = [0, 1, 10, 1000, 65536, 200_000]
EVIL = head_bytes(200, {"Content-Length": 4, "X-Own": "evil", "Cache-Control": "max-age=60"}) + b"evil"
BEHIND = [b"x", b"\r\n", b"\0", EVIL, EVIL * 3, b"4\r\nevil\r\n0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + EVIL]
NONSENSE = [b"garbage\r\n\r\n", b"HTTP/1.1 200\r\n\r\n" + EVIL, b"HTTP/2 200 OK\r\n\r\n", b"\0", b"HTTP/1.1 99 X\r\n\r\n", EVIL[:20],
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + EVIL, b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", b""]


def body_of(target):
    size = SIZES[int(target.split("/")[2])]
    return (f"{target} ".encode() * (size // len(target) + 1))[:size]


def message(dice, request):
    """A good answer to it: (head, framed body)."""
    body = body_of(request.target)
    fields = [("X-Own", request.target), ("Cache-Control", dice.choice(["max-age=60", "no-store", "max-age=0"])), ("ETag", 'W/"a"')]
    status = dice.choice([200] * 6 + [204, 404, 500]) if not body else 200
    if status == 204:
        return head_bytes(status, fields), b""
    if dice.random() < 0.5:
        head, framed = head_bytes(status, [*fields, ("Content-Length", len(body))]), body
    else:
        cuts = sorted(dice.randrange(len(body) + 1) for _ in range(3))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)]) if a < b]
        head = head_bytes(status, [*fields, ("Transfer-Encoding", "chunked")])
        framed = b"".join(chunk(piece) for piece in pieces) + b"0\r\n\r\n"
    return head, b"" if request.method == "HEAD" else framed


def padded(head, body):
    """The same message, longer: it ends where a read does, so that what is behind it is in the next one."""
    pad = -(len(head) + len(body) + len(b"X-Pad: \r\n")) % READ_BYTES
    return head[:-2] + b"X-Pad: " + b"a" * pad + b"\r\n\r\n" + body


def misbehave(request):
    """Good answers most of the time, so that connections are kept; what is behind one goes out together with its end."""
    with request.connection.origin.lock:
        n = len(request.connection.origin.seen)
    dice = random.Random(f"{SEED} {request.target} {n}")
    head, body = message(dice, request)
    how = dice.choice(["good"] * 6 + ["hints", "behind", "edge", "cut", "reset", "nonsense", "content", "spoilt", "silent"])
    try:
        if how == "hints":
            request.send(b"HTTP/1.1 103 Early Hints\r\nX-Own: hint\r\n\r\n" * dice.randrange(1, 20))
        if how in ("good", "hints"):
            request.send(head + body).finish()
        elif how == "behind":
            request.send(head + body + dice.choice(BEHIND)).finish()
        elif how == "edge":
            request.send(padded(head, body) + EVIL).finish()
        elif how == "content":  # bytes that a HEAD or a 204 cannot have; for others as good as behind
            request.send(head + body + body_of(request.target) + EVIL).finish()
        elif how == "nonsense":
            request.send(dice.choice(NONSENSE)).close()
        elif how == "spoilt":
            request.send(head[:dice.randrange(len(head) - 1)] + dice.choice([b"\0", b"\r", b"\n"]) + EVIL).close()
        elif how == "silent":
            request.close()
        else:
            request.send((head + body)[:dice.randrange(len(head) + len(body))])
            request.reset() if how == "reset" else request.close()
    except OSError:
        request.close()


def is_own(answer, target, method):
    """Whether this answer could be given to who asked for `target`."""
    if answer.status == 0:
        return True
    if answer.status >= 500 and "Proxy-Status" in answer.fields:
        return b"evil" not in answer.body
    own = body_of(target) if answer.status != 204 and method != "HEAD" else b""
    if answer.fields.all("X-Own") != [target]:
        return False
    return answer.body == own if answer.end == "clean" else own.startswith(answer.body)


class User(threading.Thread):
    """Asks again and again, on a connection that it keeps while it can."""

    def __init__(self, shield, seed):
        super().__init__(daemon=True)
        self.shield, self.dice = shield, random.Random(seed)
        self.wrong, self.good, self.client = [], 0, None

    def run(self):
        for _ in range(REQUESTS):
            target = f"/{self.dice.randrange(200)}/{self.dice.randrange(len(SIZES))}"
            method = self.dice.choice(["GET"] * 6 + ["HEAD", "POST"])
            try:
                self.one(target, method)
            except (OSError, BadMessage, AssertionError) as e:
                self.wrong.append(f"{method} {target}: {e!r}")
                self.leave()

    def one(self, target, method):
        if self.client is None:
            self.client = Client(self.shield.address)
        body = b"content" if method == "POST" else None
        self.client.send(request_bytes(target, method, body=body), [method])
        answer = self.client.response()
        self.good += answer.end == "clean" and answer.status == 200
        if not is_own(answer, target, method):
            self.wrong.append(f"{method} {target}: {answer!r} {answer.fields!r} {answer.body[:50]!r}")
        if answer.end != "clean" or answer.fields.joined("Connection") == "close":
            self.leave()

    def leave(self):
        if self.client is not None:
            self.client.close()
        self.client = None


@pytest.mark.parametrize("connections", [1, 2])
def test_each_answer_is_its_own_clients(lab, connections):
    origin = lab.origin().on_all(misbehave)
    shield = lab.shield(origin, sets={"origins.default.max_concurrent": connections, "flight.error_ttl": "0", "client.max_head": "128k",
                                      "origins.default.down_after": "0", "flight.uncacheable_ttl": "10ms"})
    until, number, good = time.monotonic() + SECONDS, 0, 0
    while number == 0 or time.monotonic() < until:
        users = [User(shield, f"{SEED} {number} {i}") for i in range(CLIENTS)]
        for user in users:
            user.start()
        for user in users:
            user.join()
            user.leave()
        wrong = [w for user in users for w in user.wrong]
        assert not wrong, f"round {number}, SOAK_SEED={SEED}: {wrong[:5]}"
        good += sum(user.good for user in users)
        number += 1
    assert good > CLIENTS * REQUESTS * number // 4
    assert origin.connections < origin.count()  # else none was used again
    assert shield.is_alive()
