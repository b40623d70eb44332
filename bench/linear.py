#!/usr/bin/python3
"""How the shield's CPU time grows with what a peer sends: each message in one size and in four times that size.

    python3 bench/linear.py SHIELD [NAME]...        rows whose name has NAME in it; all of them without one

Linear is 4; n log n a little more. The shield runs with its limits raised, so that it has to work on what it would refuse,
and with one worker; its time is that of its threads as the kernel counts them. Speed never fails the run: a ratio of more
than 8 is marked, and the exit code is 1 then.
"""
import os
import re
import socket
import subprocess
import sys
import threading
import time

RAISED = {"client.max_head": "1m", "client.max_fields": "64k", "client.max_url": "1m", "http.max_chunk_ext": "64k",
          "http.max_trailers": "1m", "http.max_ranges": "256", "client.head_timeout": "1h", "client.body_timeout": "1h"}
ROUTES = """
routes:
  - { match: { path: /query/* }, key: { query_sort: on, query_ignore: [utm_*, "*a*a*a*a*"] } }
  - { match: { path: "*a*a*a*a*a*a*a*a*b" }, deny: on }
  - { match: { cookie: ["*a*a*a*a*b"] }, deny: on }
"""
TARGET_US = 20000  # of CPU, that a measurement has to have taken
SUSPICIOUS = 8


def reply(head, body=b""):
    return b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def many(n, line):
    return b"".join(line(i) for i in range(n))


def member_list(name, n, member):
    return name + b": " + b", ".join(member(i) for i in range(n)) + b"\r\n"


FRESH = b"Cache-Control: max-age=60\r\n"

# What the origin answers to /origin/NAME/N.
ANSWERS = {
    "fields": lambda n: reply(FRESH + many(n, lambda i: b"x%d: y\r\n" % i)),
    "one field": lambda n: reply(FRESH + many(n, lambda i: b"x: y\r\n")),
    "Cache-Control": lambda n: reply(member_list(b"Cache-Control", n, lambda i: b"max-age=60")),
    "Cache-Control names": lambda n: reply(b'Cache-Control: max-age=60, no-cache="' + b",".join(b"x%d" % i for i in range(n)) +
                                           b'"\r\n' + many(n, lambda i: b"x%d: y\r\n" % i)),
    "CDN-Cache-Control": lambda n: reply(b"CDN-Cache-Control: max-age=60" + many(n, lambda i: b", x%d=1" % i) + b"\r\n"),
    "Surrogate-Key": lambda n: reply(FRESH + b"Surrogate-Key: " + b" ".join(b"tag%d" % i for i in range(n)) + b"\r\n"),
    "Cache-Groups": lambda n: reply(FRESH + member_list(b"Cache-Groups", n, lambda i: b'"g%d"' % i)),
    "Vary": lambda n: reply(FRESH + member_list(b"Vary", n, lambda i: b"x%d" % i)),
    "Vary of one name": lambda n: reply(FRESH + member_list(b"Vary", n, lambda i: b"x1")),
    "Set-Cookie": lambda n: reply(many(n, lambda i: b"Set-Cookie: a%d=b\r\n" % i)),
    "Link": lambda n: reply(FRESH + member_list(b"Link", n, lambda i: b"</%d>" % i)),
    "chunks of a byte": lambda n: b"HTTP/1.1 200 OK\r\n" + FRESH + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * n +
                                  b"0\r\n\r\n",
    "trailers": lambda n: b"HTTP/1.1 200 OK\r\n" + FRESH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" +
                          many(n, lambda i: b"x%d: y\r\n" % i) + b"\r\n",
    "interim": lambda n: b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" * 8 + reply(FRESH + many(n, lambda i: b"x%d: y\r\n" % i)),
}


class Origin(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.answer, args=[self.listener.accept()[0]], daemon=True).start()

    def answer(self, sock):
        try:
            self.serve(sock)
        except ConnectionError:  # the shield refuses some of what it is told
            pass

    @staticmethod
    def serve(sock):
        """Requests with content are read to its end: what follows it is a token of ours."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = sock.recv(1 << 20)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            if re.search(rb"\r\ntransfer-encoding:", head, re.I):
                tail = data
                while not tail.endswith(b"0\r\n\r\n"):
                    more = sock.recv(1 << 20)
                    if not more:
                        return
                    tail = (tail + more)[-16:]
                data = b""
            found = re.match(rb"\S+ /origin/([^/ ]+)/(\d+)", head)
            if found:
                sock.sendall(ANSWERS[found.group(1).decode().replace("_", " ")](int(found.group(2))))
            else:
                sock.sendall(reply(b"Cache-Control: max-age=3600\r\nETag: \"x\"\r\n", b"body of a cached object"))


class Shield:
    def __init__(self, program, origin, config):
        command = [program, "-c", config, "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"]
        for name, value in RAISED.items():
            command += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            found = re.search(rb"ready listen=([\d.]+):(\d+)", line)
            if found:
                break
        self.address = found.group(1).decode(), int(found.group(2))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def cpu_us(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1000


class Client:
    def __init__(self, address):
        self.sock = socket.create_connection(address, timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.early = b""

    def ask(self, *pieces):
        """Gives the status; the connection is as it was, or closed."""
        sender = threading.Thread(target=self.send, args=[pieces], daemon=True)
        sender.start()
        data = self.early
        while True:
            while b"\r\n\r\n" not in data:
                more = self.sock.recv(1 << 20)
                if not more:
                    return 0
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 1"):
                break
        sender.join()
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        if length:
            while len(data) < int(length.group(1)):
                data += self.sock.recv(1 << 20)
        else:
            while not data.endswith(b"0\r\n\r\n"):
                data += self.sock.recv(1 << 20)
        self.early = b""
        return int(head.split()[1])

    def send(self, pieces):
        try:
            for piece in pieces:
                self.sock.sendall(piece)
        except OSError:
            pass


def get(target, fields=b""):
    return [b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"]


def post(target, fields, content):
    return [b"POST " + target + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n" + content]


def drip(data, piece):
    return [data[i:i + piece] for i in range(0, len(data), piece)]


COUNT = [0]


def fresh():
    """A target that nobody has asked for."""
    COUNT[0] += 1
    return b"/miss/%d" % COUNT[0]


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name: (size, what is sent)
ROWS = {
    "tiny fields, hit": (1250, lambda n: get(b"/x", many(n, lambda i: b"x%d: y\r\n" % i))),
    "tiny fields, miss": (1250, lambda n: get(fresh(), many(n, lambda i: b"x%d: y\r\n" % i))),
    "fields of one name, miss": (1250, lambda n: get(fresh(), many(n, lambda i: b"x: y\r\n"))),
    "a MiB of fields, miss": (250, lambda n: get(fresh(), many(n, lambda i: b"x%d: " % i + b"y" * 1000 + b"\r\n"))),
    "one long field, miss": (240000, lambda n: get(fresh(), b"x: " + b"y" * n + b"\r\n")),
    "fields beside a full Connection": (500, lambda n: get(fresh(), b"Connection: " + b",".join(b"x%d" % i for i in range(200)) +
                                                           b"\r\n" + many(n, lambda i: b"x%d: y\r\n" % i))),
    "Connection lines": (1250, lambda n: get(b"/x", many(n, lambda i: b"Connection: x%d\r\n" % i))),
    "Cookie lines, miss": (1250, lambda n: get(fresh(), many(n, lambda i: b"Cookie: a%d=b\r\n" % i))),
    "cookies, miss": (5000, lambda n: get(fresh(), b"Cookie: " + b"; ".join(b"a%d=b" % i for i in range(n)) + b"\r\n")),
    "Cache-Control, hit": (5000, lambda n: get(b"/x", member_list(b"Cache-Control", n, lambda i: b"x%d" % i))),
    "Accept-Encoding, miss": (5000, lambda n: get(fresh(), member_list(b"Accept-Encoding", n, lambda i: b"x%d" % i))),
    "Accept-Encoding lines, miss": (1250, lambda n: get(fresh(), many(n, lambda i: b"Accept-Encoding: x%d\r\n" % i))),
    "ranges, hit": (5000, lambda n: get(b"/x", b"Range: bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(n)) + b"\r\n")),
    "Range lines, hit": (1250, lambda n: get(b"/x", many(n, lambda i: b"Range: bytes=0-1\r\n"))),
    "If-None-Match, hit": (5000, lambda n: get(b"/x", member_list(b"If-None-Match", n, lambda i: b'"%d"' % i))),
    "If-None-Match lines, hit": (1250, lambda n: get(b"/x", many(n, lambda i: b'If-None-Match: "%d"\r\n' % i))),
    "X-Forwarded-For, miss": (5000, lambda n: get(fresh(), member_list(b"X-Forwarded-For", n, lambda i: b"192.0.2.1"))),
    "Via and CDN-Loop lines, miss": (600, lambda n: get(fresh(), many(n, lambda i: b"Via: 1.1 a\r\nCDN-Loop: b%d\r\n" % i))),
    "a head byte by byte": (4000, lambda n: drip(get(b"/x", many(n // 8, lambda i: b"x%03d: y\r\n" % (i % 1000)))[0], 1)),
    "a head of one line byte by byte": (4000, lambda n: drip(get(b"/x", b"x: " + b"y" * n + b"\r\n")[0], 1)),
    "a target byte by byte": (4000, lambda n: drip(get(b"/x?" + b"y" * n)[0], 1)),
    "CRLF": (100000, lambda n: [b"\r\n" * n]),
    "one long line": (240000, lambda n: [b"G" * n + b"\r\n\r\n"]),
    "a long path, miss": (2000, lambda n: get(fresh() + b"/" + b"a" * n)),
    "a path of dots, miss": (2000, lambda n: get(fresh() + b"/a/.." * (n // 5))),
    "a path of escapes, miss": (2000, lambda n: get(fresh() + b"/" + b"%61" * (n // 3))),
    "a long query, miss": (2000, lambda n: get(fresh() + b"?" + b"a" * n)),
    "parameters of one name, sorted": (1000, lambda n: get(b"/query/x?" + b"&".join(b"a=%d" % i for i in range(n)))),
    "parameters, sorted": (1000, lambda n: get(b"/query/x?" + b"&".join(b"%d=1" % (i * 7919 % n) for i in range(n)))),
    "chunk extensions": (12000, lambda n: post(fresh(), CHUNKED, b"1;" + b"a" * n + b"\r\nx\r\n0\r\n\r\n")),
    "chunks of a byte": (25000, lambda n: post(fresh(), CHUNKED, b"1\r\na\r\n" * n + b"0\r\n\r\n")),
    "tiny trailers": (25000, lambda n: post(fresh(), CHUNKED, b"1\r\na\r\n0\r\n" + b"a:b\r\n" * n + b"X: 0\r\n\r\n")),
    "pipelined hits": (1000, lambda n: [get(b"/x")[0] * n]),
}
for answer in ANSWERS:
    least = {"chunks of a byte": 25000, "trailers": 1000, "Surrogate-Key": 5000}.get(answer, 1250)
    ROWS["origin: " + answer] = (least, lambda n, a=answer.replace(" ", "_").encode(): get(b"/origin/%s/%d/%s" % (a, n, fresh()[6:])))


def measure(shield, make, n):
    """CPU of one message, in microseconds."""
    spent, rounds, status = 0, 0, None
    while spent < TARGET_US and rounds < 200:
        pieces = make(n)
        client = Client(shield.address)
        before = shield.cpu_us()
        status = client.ask(*pieces)
        client.sock.close()
        time.sleep(0.002)  # for what follows the answer
        spent += shield.cpu_us() - before
        rounds += 1
    return spent / rounds, status


def main():
    program, names = sys.argv[1], sys.argv[2:]
    origin = Origin()
    config = f"/tmp/shield-linear-{os.getpid()}.yaml"
    with open(config, "w", encoding="ascii") as f:
        f.write(ROUTES)
    shield = Shield(program, origin, config)
    suspects = 0
    print(f"  {'':36}{'size':>8} {'once':>11} {'four times':>11} {'ratio':>7}")
    try:
        for name, (n, make) in ROWS.items():
            if names and not any(word in name for word in names):
                continue
            Client(shield.address).ask(*get(b"/x"))
            one, status_one = measure(shield, make, n)
            four, status_four = measure(shield, make, n * 4)
            ratio = four / one
            suspects += ratio > SUSPICIOUS
            said = f"{status_one}" if status_one == status_four else f"{status_one}, then {status_four}"
            print(f"  {name:36}{n:8} {one:8.0f} us {four:8.0f} us {ratio:6.1f}x  {said}{'  NOT LINEAR' if ratio > SUSPICIOUS else ''}",
                  flush=True)
    finally:
        shield.process.terminate()
        shield.process.wait()
        os.unlink(config)
    return 1 if suspects else 0


if __name__ == "__main__":
    sys.exit(main())
