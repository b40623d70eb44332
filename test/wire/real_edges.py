"""Real caches as edges before the shield: nginx, Varnish, Traffic Server, Squid and HAProxy as Debian packages them.

Each runs in a directory of its own, unprivileged, on a loopback port that was free, and is ended by its pid. The
configurations are what each one's manual gives for a cache before one server, but for this:

- what an edge serves stale by its own decision is its own business, and off (Varnish's grace);
- lifetimes below a minute count (Squid's minimum_expiry_time), and a lifetime may be a guess (Traffic Server's
  required_headers);
- Varnish obeys CDN-Cache-Control and Surrogate-Control, as its users write it in VCL; Squid obeys Surrogate-Control as
  it is; no other does.
"""
import os
import shutil
import socket
import subprocess
import tempfile

import real_nginx
from patience import PATIENCE_S, until

KINDS = ("nginx", "varnish", "trafficserver", "squid", "haproxy")

# Those to whom the Age of an answer is a part of its lifetime that is gone; HAProxy just tells it.
COUNTING_AGE = ("varnish", "trafficserver", "squid")

# Those that ask the shield once when requests miss together.
SHARING_MISSES = ("varnish",)

# What a release of Debian does not have (deploy/deps.sh knows the same).
NOT_IN = {"13": {"trafficserver"}}

NOBODY = 65534


def release():
    """VERSION_ID of this Debian, "" where there is none."""
    try:
        with open("/etc/os-release", encoding="utf-8") as f:
            fields = dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)
    except OSError:
        return ""
    return fields.get("VERSION_ID", "").strip('"') if fields.get("ID") == "debian" else ""


def is_to_be_had(kind):
    return kind not in NOT_IN.get(release(), ())


class Edge:
    """One cache, from its making until close(). `address` is where it listens."""

    program = None

    def __init__(self, upstream):
        self.upstream = upstream
        self.root = tempfile.mkdtemp(prefix="shield-edge-")
        self.log_path = os.path.join(self.root, "log")
        for _ in range(5):
            self.port = real_nginx.free_port()
            self.start()
            if until(f"{self.program} listens or has ended", self.outcome) == "listens":
                break
            self.end()
        else:
            log = self.log()
            self.close()
            raise AssertionError(f"{self.program} does not start:\n{log}")
        self.address = ("127.0.0.1", self.port)

    def start(self):
        path = shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")
        assert path, f"{self.program} is not installed: sh deploy/deps.sh --test"
        host, port = self.upstream
        for name, text in self.files().items():
            name = os.path.join(self.root, name)
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "w", encoding="utf-8") as f:
                f.write(text.format(root=self.root, port=self.port, shield_host=host, shield_port=port))
        open(self.log_path, "wb").close()
        as_nobody = {}
        if os.getuid() == 0:
            as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            for at, _, names in os.walk(self.root):
                for name in [at] + [os.path.join(at, n) for n in names]:
                    os.chown(name, NOBODY, NOBODY)
        with open(self.log_path, "ab") as log:
            command = [path] + [a.format(root=self.root, port=self.port) for a in self.arguments()]
            self.process = subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            **as_nobody)

    def outcome(self):
        if self.process.poll() is not None:
            return "ended"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
        except OSError:
            return None
        return "listens" if self.process.poll() is None else "ended"

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-5000:]

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE_S)

    def close(self):
        self.end()
        shutil.rmtree(self.root, ignore_errors=True)


class Varnish(Edge):
    program = "varnishd"

    def files(self):
        return {"edge.vcl": """\
vcl 4.1;
import std;
backend shield {{ .host = "{shield_host}"; .port = "{shield_port}"; }}
sub vcl_backend_response {{
    if (beresp.http.CDN-Cache-Control ~ "max-age=[0-9]") {{
        set beresp.ttl = std.duration(regsub(beresp.http.CDN-Cache-Control, ".*max-age=([0-9]+).*", "\\1s"), 0s);
    }} else if (beresp.http.Surrogate-Control ~ "max-age=[0-9]") {{
        set beresp.ttl = std.duration(regsub(beresp.http.Surrogate-Control, ".*max-age=([0-9]+).*", "\\1s"), 0s);
    }}
    set beresp.grace = 0s;
    set beresp.keep = 1m;
}}
"""}

    def arguments(self):
        return ["-F", "-j", "none", "-n", "{root}/varnish", "-f", "{root}/edge.vcl", "-a", "127.0.0.1:{port}",
                "-T", "none", "-s", "malloc,64m", "-p", "thread_pools=1", "-p", "thread_pool_min=20"]


class TrafficServer(Edge):
    program = "traffic_server"

    def files(self):
        dirs = ("sysconfdir: {root}/etc", "localstatedir: {root}", "runtimedir: {root}", "logdir: {root}",
                "cachedir: {root}")
        return {"runroot.yaml": "prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\n"
                                "libdir: /usr/lib/trafficserver\nplugindir: /usr/lib/trafficserver/modules\n"
                                "datadir: /usr/share/trafficserver\nincludedir: /usr/include\n"
                                "libexecdir: /usr/lib/trafficserver/modules\n" + "\n".join(dirs) + "\n",
                "etc/records.config": """\
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 2
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.http.insert_response_via_str INT 1
CONFIG proxy.config.http.cache.http INT 1
CONFIG proxy.config.http.wait_for_cache INT 1
CONFIG proxy.config.http.cache.required_headers INT 0
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.admin.user_id STRING #-1
""",
                "etc/storage.config": "{root} 64M\n",
                "etc/remap.config": "map / http://{shield_host}:{shield_port}/\n",
                "etc/ip_allow.yaml": "ip_allow:\n"
                                     "  - {{ apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL }}\n"}

    def arguments(self):
        return ["--run-root={root}/runroot.yaml"]


class Squid(Edge):
    program = "squid"

    def files(self):
        return {"squid.conf": """\
http_port 127.0.0.1:{port} accel defaultsite=edge.test
cache_peer {shield_host} parent {shield_port} 0 no-query no-digest originserver name=shield
http_access allow all
never_direct allow all
refresh_pattern . 0 20% 4320
minimum_expiry_time 0 seconds
cache_mem 64 MB
maximum_object_size_in_memory 8 MB
memory_cache_shared off
access_log none
cache_log {root}/log
pid_filename {root}/squid.pid
coredump_dir {root}
visible_hostname squid
pinger_enable off
shutdown_lifetime 0 seconds
"""}

    def arguments(self):
        return ["-N", "-n", "edge{port}", "-f", "{root}/squid.conf"]  # the name keeps its shared memory apart


class HAProxy(Edge):
    program = "haproxy"

    def files(self):
        return {"haproxy.cfg": """\
global
    nbthread 2
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
cache edge
    total-max-size 64
    max-object-size 4000000
    max-age 60
frontend clients
    bind 127.0.0.1:{port}
    default_backend shield
backend shield
    http-request cache-use edge
    http-response cache-store edge
    server shield {shield_host}:{shield_port}
"""}

    def arguments(self):
        return ["-db", "-f", "{root}/haproxy.cfg"]


EDGES = {"varnish": Varnish, "trafficserver": TrafficServer, "squid": Squid, "haproxy": HAProxy}


def edge(kind, root, upstream):
    """An edge of this kind (KINDS) before the shield at `upstream`; nginx's files go below `root`."""
    if kind == "nginx":
        return real_nginx.edge(root, upstream)
    return EDGES[kind](upstream)
