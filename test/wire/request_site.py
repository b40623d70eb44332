"""One shield and one origin for tables of raw requests: what each is answered, and what the origin saw of it."""
from http_text import request_bytes
from raw_client import Client
from scripted_origin import Reply

SMUGGLED = request_bytes("/smuggled")


class Site:
    """The origin answers every request whose content ends, and keeps the others in mind as broken."""

    def __init__(self, lab, **kw):
        self.origin = lab.origin().on_all(Reply("asked", Cache_Control="no-store"))
        self.shield = lab.shield(self.origin, **kw)
        self.whole = 0  # requests that the origin was to see in full since the last look
        self.looked = 0

    def send(self, raw, methods=(), bytewise=False):
        """A new connection that sends `raw`, whole or in single bytes. The shield may have hung up before the last."""
        client = Client(self.shield.address)
        client.methods += methods
        try:
            for piece in [raw[i:i + 1] for i in range(len(raw))] if bytewise else [raw]:
                client.sock.sendall(piece)
        except OSError:
            pass
        return client

    def refused(self, raw, statuses, bytewise=False, method="GET"):
        """`raw` is answered with one of `statuses` and the connection closed, whatever stands behind it; the origin sees
        no whole request of it. Then another client is served."""
        client = self.send(raw + SMUGGLED, [method], bytewise)
        try:
            answer = client.response()
            assert answer.status in statuses, answer
            assert answer["Connection"] == "close" and answer["Proxy-Status"].startswith("shield; error=")
            assert client.at_end(), "the connection stays open behind a request that is refused"
        finally:
            client.close()
        self.still_serves()
        return answer

    def passed(self, raw, method="GET", target="/case", host="edge.test", body=b"", bytewise=False, more=()):
        """`raw` is one request, which the origin sees as told; the next on its connection is answered too."""
        client = self.send(raw + request_bytes("/next"), [method, "GET"], bytewise)
        try:
            for _ in range(2):
                answer = client.response()
                assert answer.status == 200 and answer.end == "clean", answer
        finally:
            client.close()
        seen, following = self.origin.requests()[-2:]
        self.whole += 2
        assert following.target == "/next"
        assert (seen.method, seen.target, seen.get("Host")) == (method, target, host)
        assert bytes(seen.reader.body) == body
        for name, value in dict(more).items():
            assert seen.get(name) == value, name
        self.balance()
        return seen

    def still_serves(self):
        client = Client(self.shield.address)
        try:
            answer = client.ask("/after")
        finally:
            client.close()
        self.whole += 1
        assert answer.status == 200 and answer.body == b"asked"
        self.balance()

    def balance(self):
        """What the origin has seen in full since the last look is what it was to see, and nothing smuggled."""
        news = self.origin.requests()[self.looked:]
        self.looked += len(news)
        whole, self.whole = self.whole, 0
        assert [r for r in news if r.target == "/smuggled"] == [], "a smuggled request reached the origin"
        assert len([r for r in news if r.reader.done]) == whole, news
        assert not self.origin.problems
