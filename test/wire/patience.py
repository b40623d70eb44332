"""How long a test waits for what must come; sanitizer builds get a multiple (WIRE_PATIENCE)."""
import os
import time

FACTOR = float(os.environ.get("WIRE_PATIENCE", "1"))
PATIENCE_S = 15 * FACTOR


def until(what, probe, timeout_s=None, pause_s=0.002):
    """Poll `probe` until it gives something true, and give that; a barrier, never an order by time."""
    deadline = time.monotonic() + (timeout_s or PATIENCE_S)
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.05)


# Freshness is a matter of real time: what must be found fresh first and stale later lives for so long.
LIFE_S = 1 if FACTOR <= 1 else 3


def outlive(since, lifetime_s=LIFE_S):
    """Wait until what was received before the moment `since` (time.time()) is stale."""
    time.sleep(max(0, since + lifetime_s + 0.01 - time.time()))
