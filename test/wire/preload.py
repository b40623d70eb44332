"""Libraries that are preloaded into a shield, compiled when a test wants them."""
import os
import subprocess

import pytest

from shield_process import SHIELD

HERE = os.path.dirname(os.path.abspath(__file__))


def preload(name, directory):
    """The path of NAME.c, compiled into `directory`."""
    if os.path.dirname(SHIELD).endswith(("asan", "tsan")):
        pytest.skip("sanitizers want to be loaded first")
    library = os.path.join(directory, name + ".so")
    try:
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", library,
                        os.path.join(HERE, name + ".c"), "-ldl"], check=True)
    except FileNotFoundError:
        pytest.skip("no compiler")
    return library
