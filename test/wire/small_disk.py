"""A file system of a few megabytes that a test may fill up: a tmpfs in a mount namespace of its own,
which needs no root where user namespaces are allowed."""
import os
import subprocess

import pytest


class SmallDisk:
    """Start what is to use it behind `wrapper`; `path` is good in there, `outside` everywhere."""

    def __init__(self, path, size):
        path.mkdir()
        self.path = str(path)
        self.holder = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size={size} none "$0" && echo mounted && exec cat', self.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.holder.stdout.readline() != b"mounted\n":
            self.close()
            pytest.skip("no mount namespaces here")
        self.wrapper = ["nsenter", "-t", str(self.holder.pid), "-U", "-m", "--preserve-credentials"]
        self.outside = f"/proc/{self.holder.pid}/root{self.path}"

    def fill(self):
        """Not a byte is left; gives how many there were."""
        taken = 0
        with open(f"{self.outside}/ballast", "wb", buffering=0) as f:
            for piece in (1 << 16, 1 << 12):
                try:
                    while True:
                        taken += f.write(bytes(piece))
                except OSError:
                    pass
        return taken

    def free(self):
        os.unlink(f"{self.outside}/ballast")

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()
