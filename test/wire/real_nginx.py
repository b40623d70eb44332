"""A real nginx in a directory of its own: as an edge before the shield, or as the origin behind it."""
import os
import re
import shutil
import socket
import subprocess

from patience import PATIENCE_S, until

MAIN = """
{user}
daemon off;
worker_processes 2;
pid {root}/nginx.pid;
error_log {root}/error.log notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    types {{ text/plain txt; }}
    default_type application/octet-stream;
    {http}
}}
"""

EDGE = """
    proxy_cache_path {root}/cache levels=1:2 keys_zone=edge:1m;
    upstream shield {{ server {upstream}; keepalive 16; }}
    server {{
        listen unix:{root}/edge.sock;
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://shield;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_cache edge;
            proxy_cache_lock off;
            proxy_cache_valid 200 1m;
            proxy_cache_revalidate on;
            add_header X-Edge-Cache $upstream_cache_status;
        }}
        location /bypass/ {{
            proxy_pass http://shield;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
"""

ORIGIN = """
    server {{
        listen 127.0.0.1:{port};
        root {root}/files;
        location / {{ expires 60s; etag on; }}
        location /short/ {{ add_header Cache-Control "max-age=1"; }}
        location /none/ {{ add_header Cache-Control "no-store"; }}
        location /chunked/ {{ gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; expires 60s; }}
    }}
"""


def binary():
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Nginx:
    def __init__(self, root, http, **names):
        self.root = str(root)
        os.makedirs(self.root, exist_ok=True)
        for _ in range(5):
            self.port = free_port()
            self.start(http, names)
            if until("nginx runs or has failed", self.outcome) == "runs":
                break
            self.close()
        else:
            raise AssertionError(f"nginx does not start:\n{self.log()}")
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, http, names):
        config = MAIN.format(root=self.root, user="user root;" if os.getuid() == 0 else "",
                             http=http.format(root=self.root, port=self.port, **names))
        path = os.path.join(self.root, "nginx.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config)
        open(os.path.join(self.root, "error.log"), "w", encoding="utf-8").close()
        assert binary(), "nginx is not installed: sh deploy/deps.sh --test"
        self.process = subprocess.Popen([binary(), "-p", self.root, "-c", path, "-e",
                                         os.path.join(self.root, "error.log")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def outcome(self):
        if self.process.poll() is not None:
            return "failed"
        return "runs" if re.search(r"start worker process \d+", self.log()) else None

    def log(self):
        with open(os.path.join(self.root, "error.log"), encoding="utf-8") as f:
            return f.read()

    def write(self, name, data):
        path = os.path.join(self.root, "files", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE_S)


def edge(root, shield_address):
    host, port = shield_address
    return Nginx(root, EDGE, upstream=f"{host}:{port}")


def origin(root):
    nginx = Nginx(root, ORIGIN)
    return nginx
