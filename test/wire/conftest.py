"""One fixture, `lab`: it makes origins, shields, clients and nginxes for a test and ends them in the right order."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "bench")]

import real_edges  # noqa: E402
import real_nginx  # noqa: E402
from patience import PATIENCE_S  # noqa: E402
from raw_client import Client, Crowd  # noqa: E402
from scripted_origin import DeadPort, Origin  # noqa: E402
from shield_process import SHIELD, Shield  # noqa: E402
from table_rig import TableRig  # noqa: E402


class Lab:
    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.clients, self.origins, self.shields, self.nginxes = [], [], [], []

    def origin(self, *args, **kw):
        return self.keep(self.origins, Origin(*args, **kw))

    def dead_port(self):
        return self.keep(self.origins, DeadPort())

    def shield(self, *origins, store=None, sets=None, args=(), **kw):
        """A shield before these origins (all servers of one). `sets` are --set directives by dotted name."""
        command = []
        for origin in origins:
            command += ["--origin", origin if isinstance(origin, str) else origin.url]
        if store is not None:
            command += ["--store", store]
        for name, value in (sets or {}).items():
            command += ["--set", f"{name}={value}"]
        return self.keep(self.shields, Shield(*command, *args, **kw))

    def client(self, shield, **kw):
        address = shield if isinstance(shield, (str, tuple)) else shield.address
        return self.keep(self.clients, Client(address, **kw))

    def crowd(self, shield, n):
        address = shield if isinstance(shield, (str, tuple)) else shield.address
        return self.keep(self.clients, Crowd(address, n))

    def ask(self, shield, target, method="GET", **kw):
        """One request on a connection of its own, and its whole answer."""
        client = self.client(shield)
        answer = client.ask(target, method, **kw)
        client.close()
        return answer

    def edge(self, shield, kind="nginx"):
        """A real cache before the shield; real_edges.KINDS says which there are."""
        root = self.tmp_path / f"edge{len(self.nginxes)}"
        return self.keep(self.nginxes, real_edges.edge(kind, root, shield.address))

    def nginx_origin(self):
        return self.keep(self.nginxes, real_nginx.origin(self.tmp_path / f"origin{len(self.nginxes)}"))

    @staticmethod
    def keep(where, what):
        where.append(what)
        return what

    def end(self):
        problems = []
        for thing in self.clients + self.nginxes[::-1] + self.origins:
            thing.close()
        for origin in self.origins:
            problems += getattr(origin, "problems", [])
        for shield in self.shields:
            problems += shield.check_end()
        return problems


def in_a_lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    problems = lab.end()
    assert not problems, "; ".join(problems)


@pytest.fixture
def lab(tmp_path):
    yield from in_a_lab(tmp_path)


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory):
    yield from in_a_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def module_rig(module_lab, request):
    return TableRig(module_lab, getattr(request.module, "SETS", {}))


@pytest.fixture
def rig(module_rig):
    """For tables of hundreds of cases, through which one shield, with the SETS of the file, has to live."""
    yield module_rig
    module_rig.is_well()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    given = getattr(item, "funcargs", {})
    lab = given.get("lab") or given.get("module_lab")
    if report.failed and lab is not None:
        for i, shield in enumerate(lab.shields):
            report.sections.append((f"log of shield {i}: {' '.join(shield.command)}", shield.log[-20000:]))


def pytest_sessionstart(session):
    if not os.access(SHIELD, os.X_OK):
        pytest.exit(f"{SHIELD} is not there: build it, or set SHIELD", 2)


def pytest_report_header(config):
    return f"shield: {SHIELD}, patience {PATIENCE_S:.0f} s"
