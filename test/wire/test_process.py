"""The process: the user that it serves as, what it may never become again, and what it can write to."""
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import tempfile

import pytest

import shield_process
from raw_client import Client
from scripted_origin import cacheable

USER = "nobody"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="there is no /proc here")

# The leak check traces its own process, which the kernel forbids to one that has changed its user.
NO_LEAK_CHECK = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


@pytest.fixture
def place():
    """A directory that everybody may pass, unlike pytest's own, with one in it that belongs to USER."""
    root = tempfile.mkdtemp(prefix="shield-process-")
    os.chmod(root, 0o755)
    os.mkdir(os.path.join(root, "own"))
    if os.geteuid() == 0:
        shutil.chown(os.path.join(root, "own"), USER)
    yield root
    shutil.rmtree(root)


def status_of(shield):
    """The fields of /proc/PID/status of every thread; all must say the same of what is asked here."""
    threads = []
    for task in os.listdir(f"/proc/{shield.process.pid}/task"):
        with open(f"/proc/{shield.process.pid}/task/{task}/status", encoding="ascii") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        threads.append({name: fields[name].split() for name in
                        ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")})
    assert all(t == threads[0] for t in threads), threads
    return threads[0]


def low_port():
    for port in range(1023, 511, -1):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    pytest.skip("no free port below 1024")


def dropped(lab, origin, *args, **kw):
    return lab.shield(origin, args=args, env=NO_LEAK_CHECK, **kw)


@needs_root
@needs_proc
def test_root_becomes_the_user_for_good(lab, place):
    origin = lab.origin().on_all(cacheable("x"))
    store, port = os.path.join(place, "own", "store"), low_port()
    shield = dropped(lab, origin, "--set", f"user={USER}", store=store, listen=(f"127.0.0.1:{port}", "127.0.0.1:0"),
                     workers=2)
    who, now = pwd.getpwnam(USER), status_of(shield)
    assert now["Uid"] == [str(who.pw_uid)] * 4
    assert now["Gid"] == [str(who.pw_gid)] * 4
    assert now["Groups"] == [str(g) for g in sorted(os.getgrouplist(USER, who.pw_gid))]
    assert now["NoNewPrivs"] == ["1"]
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(now[kind][0], 16) == 0, kind

    assert shield.listen[0][1] == port  # bound while it was root, and it stays bound
    assert not lab.ask(shield, "/x").cache.get("hit")
    shield.wait_stored()
    assert os.stat(os.path.join(store, "data.mdb")).st_uid == who.pw_uid
    shield.kill()
    again = dropped(lab, origin, "--set", f"user={USER}", store=store)
    assert lab.ask(again, "/x").cache["hit"]


@needs_root
@needs_proc
def test_a_group_of_its_own(lab):
    shield = dropped(lab, lab.origin(), "--set", f"user={USER}:daemon")
    gid = str(grp.getgrnam("daemon").gr_gid)
    now = status_of(shield)
    assert now["Gid"] == [gid] * 4 and gid in now["Groups"] and "0" not in now["Groups"]


@needs_root
def test_signals_after_the_drop(lab, place):
    """HUP reads the file and USR1 opens the log as the user; what it may not read is told of at start already."""
    origin = lab.origin().on_all(cacheable("x"))
    config, tokens = os.path.join(place, "shield.yaml"), os.path.join(place, "tokens")
    log = os.path.join(place, "own", "access.log")

    def write(more=""):
        with open(config, "w", encoding="ascii") as f:
            f.write(f"user: {USER}\naccess_log: {log}\nadmin: {{ token_file: {tokens} }}\n"
                    f"{more}\n")
    write()
    with open(tokens, "w", encoding="ascii") as f:
        f.write("0123456789abcdef0123\n")
    os.chmod(tokens, 0o600)
    shield = dropped(lab, origin, "-c", config)
    shield.wait_log(rf"warn user: {USER} cannot read {tokens} \(admin.token_file\): a reload will be refused")

    mark = shield.log_mark()
    shield.send_signal(signal.SIGHUP)
    shield.wait_log(rf"reload: {tokens}: cannot be read: Permission denied; see admin.token_file", since=mark)
    shield.wait_log(rf"reload: files are read as user {USER} now", since=mark)

    os.chmod(tokens, 0o640)
    shutil.chown(tokens, group=pwd.getpwnam(USER).pw_gid)
    write("client: { max_url: 16 }")
    shield.send_signal(signal.SIGHUP)
    shield.wait_log("reload: done", since=mark)
    assert lab.ask(shield, "/" + "x" * 40).status == 414

    os.rename(log, log + ".1")
    shield.send_signal(signal.SIGUSR1)
    shield.wait_log("access log: reopened", since=mark)
    assert os.stat(log).st_uid == pwd.getpwnam(USER).pw_uid
    shield.stop()


@needs_root
def test_what_the_user_cannot_write(place):
    """It does not serve, and says what to do."""
    closed = os.path.join(place, "closed")
    os.mkdir(closed)
    base = ["--origin", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", f"user={USER}"]
    for store, remedy in ((closed, f"chown -R {USER}:"), (os.path.join(closed, "new"), f"install -d -o {USER} -g ")):
        code, _, err = shield_process.run(*base, "--store", store)
        assert code == 1 and f"store.path: {store}: user {USER} cannot" in err and remedy in err, err
    code, _, err = shield_process.run(*base, "--set", f"access_log={closed}/log")
    assert code == 1 and f"access_log: {closed}/log: cannot be opened for writing as user {USER}" in err
    assert os.listdir(closed) == []  # root has made nothing there

    # a store of root's own is not taken for a broken one
    shutil.chown(os.path.join(place, "own"), USER)
    data = os.path.join(place, "own", "data.mdb")
    with open(data, "wb"):
        os.chmod(data, 0o600)
    code, _, err = shield_process.run(*base, "--store", os.path.join(place, "own"))
    assert code == 1 and "chown -R" in err and os.path.exists(data), err


@pytest.mark.parametrize("user, why", [
    ("no-such-user", "user: 'no-such-user': there is no such user"),
    ("root:no-such-group", "user: 'no-such-group': there is no such group"),
    (":daemon", "not NAME or NAME:GROUP"), ("root:", "not NAME or NAME:GROUP"), ("x" * 300, "not NAME or NAME:GROUP")])
def test_a_user_that_is_none(user, why):
    code, _, err = shield_process.run("--origin", "http://127.0.0.1:1", "--set", f"user={user}", "-t")
    assert code == 2 and why in err


@needs_proc
def test_nothing_that_is_run_gets_more(lab):
    """PR_SET_NO_NEW_PRIVS holds whoever it serves as, and root without `user` is told."""
    shield = lab.shield(lab.origin())
    assert status_of(shield)["NoNewPrivs"] == ["1"]
    assert ("serves as root" in shield.log) == (os.geteuid() == 0)
    if os.geteuid() == 0:
        assert "serves as root" not in lab.shield(lab.origin(), sets={"user": "root"}).log


def open_for_writing(pid):
    """Names of all that the process has open for writing and that is no socket, pipe or kernel object."""
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as f:
                flags = int(re.search(r"flags:\s*(\d+)", f.read()).group(1), 8)
        except FileNotFoundError:
            continue
        if flags & os.O_ACCMODE != os.O_RDONLY and not re.match(r"(socket|pipe|anon_inode):", name):
            names.append(name)
    return names


@needs_proc
def test_what_it_can_write_to(lab, place):
    """Store and log alone, which nobody else may read whatever the umask; and no memory is writable and executable."""
    store, log = os.path.join(place, "own", "store"), os.path.join(place, "own", "access.log")
    before = os.umask(0)
    try:
        shield = lab.shield(lab.origin().on_all(cacheable("x" * 100000)), store=store, sets={"access_log": log}, workers=2)
    finally:
        os.umask(before)
    clients = [Client(shield.address) for _ in range(3)]
    for i, client in enumerate(clients):
        assert client.ask(f"/{i}").status == 200
    shield.wait_stored()
    names = open_for_writing(shield.process.pid)
    ours = [n for n in names if n.startswith(store + "/") or n == log]
    assert set(names) - set(ours) <= {"/dev/null"}, names  # stdin and stdout as the test has given them
    assert log in ours and os.path.join(store, "data.mdb") in ours
    assert stat.S_IMODE(os.stat(store).st_mode) == 0o750
    for name in os.listdir(store) + [log]:
        assert stat.S_IMODE(os.stat(os.path.join(store, name)).st_mode) & ~0o640 == 0, name
    if shield.is_plain:
        with open(f"/proc/{shield.process.pid}/maps", encoding="utf-8", errors="replace") as f:
            assert [line for line in f if re.match(r"\S+ .wx", line)] == []
    for client in clients:
        client.close()
