"""One shield before one origin for all cases of a table; each case has a target of its own."""
from patience import until
from scripted_origin import cacheable

# What the origin hears from the shield itself, whatever the client says.
USUAL = {"host", "via", "cdn-loop", "accept-encoding", "x-forwarded-for", "x-forwarded-proto"}
NO_MEMORY = {"flight.error_ttl": "0", "origins.default.down_after": "0"}  # of failures: a case is not the next one's


class TableRig:
    def __init__(self, lab, sets):
        self.lab = lab
        self.origin = lab.origin()
        self.shield = lab.shield(self.origin, sets=NO_MEMORY | sets)
        self.descriptors = self.shield.descriptors()
        self.n = 0

    def target(self, rest=""):
        self.n += 1
        return f"/{self.n}{rest}"

    # what a client does

    def ask(self, target, method="GET", **kw):
        return self.lab.ask(self.shield, target, method, **kw)

    def raw(self, data, *methods):
        """The first answer to exact bytes."""
        client = self.lab.client(self.shield).send(data, list(methods or ["GET"]))
        answer = client.response()
        client.close()
        return answer

    # what the origin does

    def play(self, raw, end="open", method="GET", **kw):
        """A request to a target of its own, which the origin answers with these bytes: (target, answer)."""
        target = self.target()
        self.origin.on(target, answering(raw, end))
        return target, self.ask(target, method, **kw)

    def credulous(self, target, **fields):
        """The origin answers with all that it is told: the fields that it does not always get, and the content."""
        def echo(request):
            told = [f"{n}: {v}" for n, v in request.fields.lines if n.lower() not in USUAL]
            content = request.read_body()
            said = "; ".join([request.method, *told, content.decode("latin-1")] if told or content else ["plain"])
            return cacheable(said.encode("latin-1"), **fields)
        self.origin.on(target, echo)
        return target

    # what must be true

    def connection(self, target):
        """What the first request for it came on."""
        return self.origin.requests(target)[0].connection

    def is_let_go(self, target):
        until(f"the connection of {target} is closed", lambda: self.connection(target) not in self.origin.open)

    def is_not_kept(self, target):
        """The next client gets an answer that was made for it, by the origin."""
        self.origin.on(target, cacheable(f"whole {target}"))
        answer = self.ask(target)
        assert (answer.status, answer.body, answer.end) == (200, f"whole {target}".encode(), "clean")
        assert "hit" not in answer.cache

    def is_well(self):
        assert self.shield.is_alive()
        until("descriptors are as before", lambda: self.shield.descriptors() <= self.descriptors + 4)


def answering(raw, end):
    """The origin's part: these bytes, and then "open" (it waits for the next request), "close" or "reset"."""
    def answer(request):
        request.send(raw)
        if end == "open":
            request.finish()
        else:
            getattr(request, end)()
    return answer
