"""shield-bench as a test starts it: by its command line only."""
import json
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(os.path.dirname(os.path.join(ROOT, os.environ.get("SHIELD", "build/shield"))), "shield-bench")
PATIENCE_S = 60 * float(os.environ.get("WIRE_PATIENCE", "1"))


def bench(*args):
    """Run it to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([TOOL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE_S, cwd=ROOT)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Sanitizer" not in err and "runtime error" not in err, err
    return done.returncode, out, err


def bench_json(*args):
    code, out, err = bench(*args)
    assert out, err
    return code, json.loads(out)


class Origin:
    """The simulator, on a port of its own."""

    def __enter__(self):
        self.process = subprocess.Popen([TOOL, "origin", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            match = re.search(r"ready .*listen=(\S+)", line)
            if match:
                self.address = match.group(1)
                return self
        raise AssertionError("the origin did not get ready")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0
