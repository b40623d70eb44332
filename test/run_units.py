#!/usr/bin/python3
"""Run unit test binaries, tell how many tests of each passed, and show the output of those that failed."""
import concurrent.futures
import os
import re
import subprocess
import sys
import time

PATIENCE = float(os.environ.get("WIRE_PATIENCE", "1"))
LIMIT_S = 120 * PATIENCE


def run(binary):
    started = time.monotonic()
    try:
        done = subprocess.run([binary], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode(errors="replace") + f"\nno end within {LIMIT_S:.0f} s", -1
    passed = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", output, re.M))
    failed = sum(int(n) for n in re.findall(r"^ *(\d+) FAILED TEST\(S\)", output, re.M))
    if code != 0 and failed == 0:
        failed = 1
    if code == 0 and passed == 0:
        output, failed = output + "\nno test ran", 1
    return binary, output, passed, failed, time.monotonic() - started


def main():
    binaries = sys.argv[1:]
    total_passed = total_failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for binary, output, passed, failed, seconds in pool.map(run, binaries):
            if failed:
                print(output)
            print(f"{os.path.basename(binary)}: {passed} passed, {failed} failed ({seconds:.1f} s)", flush=True)
            total_passed += passed
            total_failed += failed
    print(f"unit: {total_passed} passed, {total_failed} failed", flush=True)
    return 1 if total_failed or not binaries else 0


if __name__ == "__main__":
    sys.exit(main())
