"""A shield under test: started through the contract of its command line only, watched through its admin port."""
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

from http_text import BadMessage
from patience import PATIENCE_S, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIELD = os.path.join(ROOT, os.environ.get("SHIELD", "build/shield"))
SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer: detected)")


def run(*args, timeout_s=None):
    """Run it to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([SHIELD, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout_s or PATIENCE_S, cwd=ROOT)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert not SANITIZER.search(err), err
    return done.returncode, out, err


def address_of(text):
    """What connect() takes of "127.0.0.1:80", "[::1]:80" or "unix:/path"."""
    if text.startswith("unix:"):
        return text[5:]
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def parse_metrics(text):
    """{(name, frozenset of (label, value)): number} of Prometheus' text format; refuses what is not."""
    values = {}
    typed = set()
    for line in text.splitlines():
        if not line:
            continue
        if line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:4]
            if name in typed or kind not in ("counter", "gauge", "histogram"):
                raise BadMessage(f"bad or second {line!r}")
            typed.add(name)
            continue
        if line.startswith("#"):
            continue
        match = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)', line)
        if not match:
            raise BadMessage(f"bad metrics line {line!r}")
        name, labels, value = match.groups()
        pairs = frozenset(re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', labels or ""))
        if (name, pairs) in values:
            raise BadMessage(f"{line!r} came twice")
        if name not in typed and re.sub(r"_(bucket|sum|count)$", "", name) not in typed:
            raise BadMessage(f"{name} has no TYPE")
        values[name, pairs] = float(value)
    return values


class Shield:
    def __init__(self, *args, listen=("127.0.0.1:0",), workers=1, env=None, stdout=subprocess.DEVNULL, patience_s=None,
                 wrapper=()):
        command = [*wrapper, SHIELD]
        for where in listen:
            command += ["--listen", where]
        command += ["--admin", "127.0.0.1:0"]
        if workers is not None:
            command += ["--workers", str(workers)]
        self.command = command + [str(a) for a in args]
        self.lines = []
        self.news = threading.Condition()
        self.exit_code = None
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                                        cwd=ROOT, env=dict(os.environ, **(env or {})))
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        try:
            ready = self.wait_log(r"\bready listen=(\S+) admin=(\S+)", patience_s)
            self.ready = time.monotonic()
        except AssertionError:
            self.kill()
            raise
        self.listen = [address_of(part) for part in ready.group(1).split(",")]
        self.address = self.listen[0]
        self.admin = address_of(ready.group(2))

    # log

    def read_log(self):
        for raw in self.process.stderr:
            with self.news:
                self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    @property
    def log(self):
        with self.news:
            return "\n".join(line for line in self.lines if line is not None)

    def log_mark(self):
        """A place in the log, for wait_log(since=...)."""
        with self.news:
            return len(self.lines)

    def wait_log(self, pattern, timeout_s=None, since=0):
        """The match of the first log line with `pattern`."""
        deadline = time.monotonic() + (timeout_s or PATIENCE_S)
        with self.news:
            at = since
            while True:
                while at < len(self.lines):
                    line = self.lines[at]
                    at += 1
                    found = line is not None and re.search(pattern, line)
                    if found:
                        return found
                    if line is None:
                        raise AssertionError(f"the shield ended without logging {pattern!r}; its log:\n" +
                                             "\n".join(li for li in self.lines if li is not None))
                left = deadline - time.monotonic()
                assert left > 0, f"no log line {pattern!r} in:\n" + "\n".join(li for li in self.lines if li)
                self.news.wait(left)

    # admin port

    def admin_get(self, path, method="GET", body=None):
        """(status, body text, headers) from the admin port."""
        connection = http.client.HTTPConnection(*self.admin, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()

    def metrics(self):
        status, text, _ = self.admin_get("/metrics")
        assert status == 200, text
        return parse_metrics(text)

    def metric(self, name, **labels):
        """Sum of all series of shield_NAME with these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(v for (n, pairs), v in self.metrics().items() if n == "shield_" + name and wanted <= pairs)

    def wait_metric(self, name, wanted, timeout_s=None, **labels):
        """The event barrier: poll until the metric has the value `wanted`, or satisfies it when it is a function."""
        seen = [None]

        def probe():
            seen[0] = self.metric(name, **labels)
            return wanted(seen[0]) if callable(wanted) else seen[0] == wanted
        try:
            until("", probe, timeout_s)
        except AssertionError:
            what = "what was wanted" if callable(wanted) else wanted
            raise AssertionError(f"shield_{name}{labels or ''} is {seen[0]}, not {what}") from None
        return seen[0]

    def wait_stored(self):
        """Until all that was sent as stored is durable."""
        self.wait_metric("store_pending_objects", 0)

    def flights(self):
        status, text, _ = self.admin_get("/flights")
        assert status == 200, text
        return json.loads(text)["flights"]

    # life

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, timeout_s=None):
        if self.exit_code is None:
            self.exit_code = self.process.wait(timeout_s or PATIENCE_S * 2)
            self.reader.join(PATIENCE_S)
            self.process.stderr.close()
        return self.exit_code

    def stop(self, number=signal.SIGTERM):
        self.send_signal(number)
        return self.wait_exit()

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        return self.wait_exit()

    def is_alive(self):
        return self.process.poll() is None

    @property
    def is_plain(self):
        """Not built with a sanitizer, whose memory says nothing."""
        return not os.path.dirname(SHIELD).endswith(("asan", "tsan"))

    def rss_bytes(self, of_its_own=False):
        """Resident memory, 0 where there is no /proc; `of_its_own`: without mapped files."""
        if not os.path.exists("/proc/self/statm"):
            return 0
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            pages = [int(word) for word in f.read().split()]
        return (pages[1] - (pages[2] if of_its_own else 0)) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def check_end(self):
        """At the end of every test: no flight left, no promise broken, a clean exit, nothing from a sanitizer."""
        problems = []
        if self.exit_code is None:
            if self.is_alive():
                try:
                    self.wait_metric("flights", 0)
                    broken = self.metric("invariant_violations_total")
                    if broken:
                        problems.append(f"shield_invariant_violations_total is {broken}")
                except (AssertionError, OSError, http.client.HTTPException) as e:
                    problems.append(f"at the end: {e}")
                self.send_signal(signal.SIGTERM)
            try:
                code = self.wait_exit()
                if code != 0:
                    problems.append(f"exit code {code} after SIGTERM, not 0")
            except subprocess.TimeoutExpired:
                self.kill()
                problems.append("did not end after SIGTERM")
        elif self.exit_code not in (0, -signal.SIGKILL):
            problems.append(f"exit code {self.exit_code}")
        report = SANITIZER.search(self.log)
        if report:
            problems.append(f"a sanitizer reports: {report.group(0)}")
        return problems
