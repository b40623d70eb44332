#!/usr/bin/python3
"""Peers that mean harm: clients and an origin that send what a grammar and the fuzz corpora give, mutated, cut and split.

    garbage.py clients HOST PORT SECONDS SEED      many connections at a time; ends by itself
    garbage.py origin SEED                         says its port first; ends with its standard input

Each ends with one line of JSON: what it did, and what the shield should never have done (`problems`)."""
import asyncio
import glob
import json
import os
import random
import re
import socket
import struct
import sys
import time

from http_text import BadMessage, BodyReader, body_kind, parse_head

CORPUS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fuzz", "corpus")
POISON = b"POISON-THAT-NOBODY-ASKED-FOR"
AT_ONCE = 40
HEAD_MAX = 1 << 20

METHODS = [b"GET"] * 20 + [b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PURGE", b"BREW", b"get", b"G\0T"]
TARGETS = [b"/g/%d"] * 20 + [b"/g/%d?a=1&b=2", b"http://other.test/g/%d", b"/g/../g/%d", b"//g/%d", b"*", b"/g/%%00%d", b"/g/%d#f",
                            b"/g/\xe4%d", b"http://u@h/g/%d", b"https:///g/%d", b"/g/%d" + b"a" * 9000, b"g/%d", b"h.test:443", b""]
VERSIONS = [b"HTTP/1.1"] * 20 + [b"HTTP/1.0", b"HTTP/1.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b""]
FIELDS = [b"Host: other.test", b"Host: ", b"Host: a b", b"Host: [::1]:80", b"Connection: close", b"Connection: keep-alive, Host",
          b"Connection: Content-Length, X-A", b"Content-Length: 3", b"Content-Length: 3, 3", b"Content-Length: +3", b"Content-Length: -1",
          b"Content-Length: 18446744073709551616", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, chunked",
          b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked", b"TE: trailers",
          b"Expect: 100-continue", b"Expect: 200-ok", b"Upgrade: h2c", b"Range: bytes=0-1,5-,-3", b"Range: bytes=1-0", b"If-None-Match: *",
          b'If-None-Match: "a", W/"b', b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", b"Cookie: a=b; plan=c", b"Vary: *", b" folded",
          b"\tfolded", b"X: \x00", b"X: \xff\xfe", b"X:\rY: z", b": no name", b"no colon", b"X" * 300 + b": y", b"X: " + b"y" * 5000,
          b"Max-Forwards: 0", b"Forwarded: for=1.2.3.4", b"X-Forwarded-Host: evil.test", b"Accept-Encoding: gzip;q=0, br",
          b"Cache-Control: no-store, max-age=0", b"Authorization: Basic YTpi", b"Shield-Debug: x", b"Via: 1.1 shield", b"CDN-Loop: shield"]
SAID = [b"Cache-Control: max-age=60", b"Cache-Control: max-age=1, stale-while-revalidate=5", b"Cache-Control: no-store", b"Vary: Cookie",
        b"Vary: Accept-Encoding", b"Vary: *", b"Set-Cookie: a=b", b'ETag: "v1"', b'ETag: W/"v', b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
        b"Content-Encoding: gzip", b"Content-Type: text/html", b"Connection: close", b"Connection: Cache-Control", b"Age: 5", b"Age: -1",
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT", b"Expires: 0", b"Surrogate-Control: max-age=9", b"CDN-Cache-Control: max-age=9", b"Trailer: X",
        b"Content-Range: bytes 0-1/5", b"Accept-Ranges: bytes", b"Location: /g/1", b"Retry-After: 1", b"X: " + b"z" * 9000]
SPICE = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b'"', b"=", b"\x80", b"\xff", b"%", b"0", b"ffffffffffffffff", b"-1",
         b"chunked", b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 "]


def kept(*names):
    found = sorted(path for name in names for path in glob.glob(os.path.join(CORPUS, name, "*")))
    seeds = []
    for path in found:
        with open(path, "rb") as f:
            seeds.append(f.read(20000))
    return seeds


class Garbage:
    """Endless messages of one seed."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.requests, self.responses, self.bodies = kept("http1_request"), kept("http1_response"), kept("http1_body")

    def chance(self, p):
        return self.dice.random() < p

    def mutated(self, data):
        """One to six changes, each of which could be a mistake or an attack."""
        dice, data = self.dice, bytearray(data)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data) + 1)
            to = min(len(data), at + dice.choice([1, 1, 2, 5, 40]))
            what = dice.randrange(7)
            if what == 0 and at < len(data):
                data[at] = dice.randrange(256)
            elif what in (1, 2):
                data[at:at] = dice.choice(SPICE)
            elif what == 3:
                del data[at:to]
            elif what == 4:
                data[at:at] = data[at:to] * dice.choice([1, 1, 3, 50])
            elif what == 5:
                data = bytearray(data.replace(b"\r\n", b"\n", dice.randint(1, 3)))
            elif what == 6:
                del data[at:]
        return bytes(data)

    def chunked(self, body):
        out, dice = bytearray(), self.dice
        while body:
            n = dice.randint(1, len(body))
            extension = dice.choice([b""] * 6 + [b";a", b";a=b", b';a="\r', b";" + b"x" * 3000, b" "])
            out += dice.choice([b"%x", b"%X", b"0%x", b"%x"]) % n + extension + b"\r\n" + body[:n] + b"\r\n"
            body = body[n:]
        return bytes(out) + b"0\r\n" + dice.choice([b""] * 5 + [b"X: y\r\n", b"Host: z\r\n", b"bad\r\n", b"A: " + b"b" * 20000 + b"\r\n"]) + b"\r\n"

    def request(self):
        dice = self.dice
        if self.chance(0.15):
            data = dice.choice(self.requests)
        else:
            target = dice.choice(TARGETS)
            lines = [dice.choice(METHODS) + b" " + (target % dice.randrange(200) if b"%d" in target else target) + b" " + dice.choice(VERSIONS)]
            if not self.chance(0.05):
                lines.append(b"Host: edge.test")
            lines += dice.choices(FIELDS, k=dice.choice([0, 0, 0, 0, 0, 1, 2]))
            body = b""
            if self.chance(0.15):
                body = dice.choice(self.bodies) if self.chance(0.3) else b"b" * dice.choice([0, 1, 10, 5000, 100000])
                if self.chance(0.5):
                    lines.append(b"Content-Length: %d" % (len(body) + dice.choice([0, 0, 0, 1, -1, 1000])))
                else:
                    lines.append(b"Transfer-Encoding: chunked")
                    body = self.chunked(body)
            if self.chance(0.01):
                lines += [b"F%d: x" % i for i in range(dice.choice([300, 5000]))]
            data = b"\r\n".join(lines) + b"\r\n\r\n" + body
        return self.mutated(data) if self.chance(0.25) else data

    def response(self, has_no_body):
        """(head, body, whether the connection has to close behind it), all as it should be."""
        dice = self.dice
        status = dice.choice([200] * 12 + [204, 206, 301, 304, 404, 500, 503])
        lines = [b"HTTP/1.1 %d Said" % status] + dice.choices(SAID, k=dice.choice([0, 1, 2, 3]))
        body = dice.choice([b"", b"x", b"y" * 1000, b"z" * 70000])
        has_no_body = has_no_body or status in (204, 304)
        framing = dice.randrange(3)
        closes = framing == 2 and not has_no_body
        if framing == 0 and status != 204:
            lines.append(b"Content-Length: %d" % len(body))
        elif framing == 1 and status != 204:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:10], body[10:]) if p) + b"0\r\n\r\n"
        before = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * dice.choice([0] * 10 + [1, 3, 30])
        return before + b"\r\n".join(lines) + b"\r\n\r\n", b"" if has_no_body else body, closes

    def parts(self, data):
        """Where the writes end."""
        if self.chance(0.6) or len(data) < 2:
            return [data]
        if self.chance(0.1):
            data, rest = data[:60], [data[60:]]
            return [data[i:i + 1] for i in range(len(data))] + rest
        cuts = sorted(self.dice.randrange(len(data)) for _ in range(self.dice.randint(1, 4)))
        return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]


def make_reset(writer):
    sock = writer.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass


async def send(writer, parts, pause_s):
    for part in parts:
        writer.write(part)
        await asyncio.wait_for(writer.drain(), 3)
        if pause_s:
            await asyncio.sleep(pause_s)


class Report:
    def __init__(self):
        self.counts, self.problems = {}, []

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def problem(self, text, data=b""):
        if len(self.problems) < 20:
            self.problems.append(f"{text}: {data[:600]!r}" if data else text)

    def say(self):
        print(json.dumps({"counts": self.counts, "problems": self.problems}), flush=True)


# ---- clients ----

class Clients:
    def __init__(self, address, seconds, seed):
        self.address, self.until, self.garbage, self.report = address, time.monotonic() + seconds, Garbage(seed), Report()

    def check(self, got, sent):
        """Whatever was sent, what comes back is HTTP, and nobody else's."""
        if POISON in got:
            self.report.problem("what stood behind an origin's answer was served", sent)
        end = got.find(b"\r\n\r\n")
        if end < 0:
            self.report.count("no answer")
            return
        try:
            start, fields = parse_head(got[:end + 4])
            if not re.match(r"HTTP/1\.1 [1-5]\d\d ", start):
                self.report.problem(f"the status line {start!r}", sent)
            body_kind(fields)
            self.report.count(start[9:12])
        except BadMessage as e:
            self.report.problem(f"not HTTP: {e}", got)

    async def listen(self, reader):
        got = bytearray()
        try:
            while len(got) < HEAD_MAX:
                data = await asyncio.wait_for(reader.read(65536), self.garbage.dice.choice([0.2, 1, 4]))
                if not data:
                    break
                got += data
        except (asyncio.TimeoutError, OSError):
            pass
        return bytes(got)

    async def one(self):
        dice, garbage = self.garbage.dice, self.garbage
        reader, writer = await asyncio.open_connection(*self.address, limit=HEAD_MAX)
        data = b"".join(garbage.request() for _ in range(dice.choice([1, 1, 1, 1, 2, 5, 40])))
        how = dice.choice(["read"] * 5 + ["half", "half", "reset", "close", "deaf"])
        try:
            await send(writer, garbage.parts(data), dice.choice([0, 0, 0, 0.001, 0.02, 0.3]))
            if how == "half" and writer.can_write_eof():
                writer.write_eof()
            if how in ("read", "half"):
                self.check(await self.listen(reader), data)
            elif how == "deaf":
                await asyncio.sleep(dice.random())
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            self.report.count("refused while sending")
        if how in ("reset", "deaf"):
            make_reset(writer)
        writer.transport.abort() if how == "reset" else writer.close()

    async def worker(self):
        while time.monotonic() < self.until:
            try:
                await self.one()
                self.report.count("connections")
            except OSError as e:
                self.report.problem(f"cannot connect: {e}")
                await asyncio.sleep(0.1)

    async def run(self):
        await asyncio.gather(*(self.worker() for _ in range(AT_ONCE)))
        self.report.say()


# ---- the origin ----

class BadOrigin:
    def __init__(self, seed):
        self.garbage, self.report = Garbage(seed), Report()

    async def request(self, reader):
        """Read one whole; None at the end of the connection. What the shield writes is always as it should be."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return None
        try:
            start, fields = parse_head(raw)
            match = re.fullmatch(r"([!-~]+) ([!-~]+) HTTP/1\.1", start)
            if not match or len(fields.all("Host")) != 1 or len(fields.all("CDN-Loop")) < 1:
                raise BadMessage(start)
            kind, length = body_kind(fields)
        except BadMessage as e:
            self.report.problem(f"a bad request went upstream: {e}", raw)
            return None
        body = BodyReader(kind or "none", length)
        while not body.done:
            data = await reader.read(65536)
            if not data:
                return None
            body.feed(data)
        if body.buffer:
            self.report.problem("bytes behind a request went upstream", bytes(body.buffer))
        return match.group(1)

    async def answer(self, writer, method):
        """Returns "next", "last" (nothing may be asked on this connection any more) or "close"."""
        dice, garbage = self.garbage.dice, self.garbage
        head, body, closes = garbage.response(method == "HEAD")
        what = dice.choices(["well", "mutated", "corpus", "behind", "cut", "hang", "close"], [30, 30, 8, 10, 10, 2, 5])[0]
        self.report.count(what)
        pause_s = dice.choice([0, 0, 0, 0, 0.002, 0.1])
        if what in ("well", "behind"):
            if what == "behind" and not closes:
                writer.write(head + body + b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s" %
                             (len(POISON), POISON))
                await asyncio.wait_for(writer.drain(), 3)
                return "last"
            await send(writer, garbage.parts(head + body), pause_s)
            return "close" if closes else "next"
        if what == "mutated":
            await send(writer, garbage.parts(garbage.mutated(head + body)), pause_s)
            return dice.choice(["next", "close"])
        if what == "corpus":
            await send(writer, garbage.parts(dice.choice(garbage.responses) + dice.choice(garbage.bodies)), pause_s)
            return dice.choice(["next", "close"])
        if what == "cut":
            whole = head + body
            await send(writer, garbage.parts(whole[:dice.randrange(len(whole))]), pause_s)
        if what == "hang":
            await asyncio.sleep(2)
        return "close"

    async def connection(self, reader, writer):
        try:
            then = "next"
            while then != "close":
                method = await self.request(reader)
                if method is None:
                    break
                if then == "last":
                    self.report.problem("a connection with bytes behind its answer was used again")
                then = await self.answer(writer, method)
            if self.garbage.chance(0.3):
                make_reset(writer)
        except (OSError, asyncio.TimeoutError, BadMessage):
            pass
        writer.close()

    async def run(self):
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, backlog=1024, limit=HEAD_MAX)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        self.report.say()
        sys.stdout.flush()
        os._exit(0)  # what is still open is of no interest


def main():
    if sys.argv[1] == "clients":
        host, port, seconds, seed = sys.argv[2:]
        asyncio.run(Clients((host, int(port)), float(seconds), int(seed)).run())
    else:
        asyncio.run(BadOrigin(int(sys.argv[2])).run())


if __name__ == "__main__":
    main()
