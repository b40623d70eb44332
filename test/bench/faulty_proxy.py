"""A small caching proxy that collapses misses, with a fault planted in it: what a load tool has to find.

faulty_proxy.py PORT ORIGIN FAULT becomes one; FaultyProxy is one in this process."""
import http.client
import socket
import sys
import threading

FAULTS = ("none", "double_fetch", "wrong_body", "truncated", "cookie", "variant", "unasked_part")
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class FaultyProxy:
    def __init__(self, origin, fault, port=0):
        assert fault in FAULTS
        self.origin, self.fault = origin, fault
        self.lock, self.stored = threading.Lock(), {}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with connection, connection.makefile("rb") as lines:
                while self.answer(connection, lines):
                    pass
        except OSError:
            pass  # the client has left

    def answer(self, connection, lines):
        request = lines.readline().decode().split(" ")
        if len(request) != 3:
            return False
        language = ""
        for line in iter(lambda: lines.readline().decode().strip(), ""):
            if line.lower().startswith("accept-language:"):
                language = line.split(":")[1].strip()
        fields, body = self.look_up(request[1], language)
        if self.fault == "wrong_body":
            body = body[:-1] + bytes([body[-1] ^ 1])
        status = "200 OK"
        if self.fault == "unasked_part":
            status, fields, body = "206 Partial Content", fields + [("Content-Range", f"bytes 0-99/{len(body)}")], body[:100]
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
        if self.fault == "truncated":
            connection.sendall((head + "Connection: close\r\n\r\n").encode() + body[:len(body) // 2])
            return False
        connection.sendall((head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        return True

    def look_up(self, target, language):
        """What is stored, or a fetch that all others wait for."""
        key = (target, "" if self.fault == "variant" else language)
        with self.lock:
            if key in self.stored:
                return self.stored[key]
            if self.fault == "double_fetch":
                self.fetch(target, language)
            fields, body = self.fetch(target, language)
            if self.fault == "cookie" or not any(name.lower() == "set-cookie" for name, _ in fields):
                self.stored[key] = fields, body
            return fields, body

    def fetch(self, target, language):
        connection = http.client.HTTPConnection(self.origin, timeout=30)
        connection.request("GET", target, headers={"Accept-Language": language} if language else {})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return [(name, value) for name, value in response.getheaders() if name.lower() not in HOP], body


if __name__ == "__main__":
    FaultyProxy(sys.argv[2], sys.argv[3], int(sys.argv[1]))
    threading.Event().wait()
