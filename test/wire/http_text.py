"""A strict, incremental reader of HTTP/1 messages for the tests: it says exactly what came, and how it ended."""
import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


class BadMessage(Exception):
    """What came is not HTTP/1 as RFC 9112 has it."""


class Fields:
    """Field lines in order; looked up without regard to case."""

    def __init__(self, lines):
        self.lines = list(lines)

    def all(self, name):
        return [v for n, v in self.lines if n.lower() == name.lower()]

    def get(self, name, default=None):
        """The only value of `name`; several lines are an error, so that no test overlooks them."""
        found = self.all(name)
        assert len(found) <= 1, f"{name} came {len(found)} times: {found}"
        return found[0] if found else default

    def joined(self, name):
        return ", ".join(self.all(name))

    def __contains__(self, name):
        return bool(self.all(name))

    def __repr__(self):
        return "\n".join(f"{n}: {v}" for n, v in self.lines)


def parse_head(raw):
    """(start line, Fields) of a head with its empty line; refuses bare LF, folding and odd names."""
    text, end = raw[:-4], raw[-4:]
    if end != b"\r\n\r\n":
        raise BadMessage(f"head does not end in an empty line: {raw!r}")
    lines = text.split(b"\r\n")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name) or b"\n" in line or b"\r" in line or b"\0" in line:
            raise BadMessage(f"bad field line {line!r}")
        fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
    return lines[0].decode("latin-1"), Fields(fields)


class BodyReader:
    """Decodes one body; `rest` has what came behind it."""

    def __init__(self, kind, length=0):
        self.kind = kind  # "none", "length", "chunked", "close"
        self.left = length
        self.body = bytearray()
        self.pieces = 0  # chunks
        self.buffer = bytearray()
        self.state = "size"
        self.done = kind == "none" or (kind == "length" and length == 0)

    def feed(self, data):
        self.buffer += data
        if self.kind == "length":
            take = min(self.left, len(self.buffer))
            self.body += self.buffer[:take]
            del self.buffer[:take]
            self.left -= take
            self.done = self.left == 0
        elif self.kind == "close":
            self.body += self.buffer
            self.buffer.clear()
        elif self.kind == "chunked":
            while not self.done and self.step():
                pass

    def line(self):
        end = self.buffer.find(b"\r\n")
        if end < 0:
            if len(self.buffer) > 8192:
                raise BadMessage("endless line in a chunked body")
            return None
        line = bytes(self.buffer[:end])
        del self.buffer[:end + 2]
        return line

    def step(self):
        if self.state == "size":
            line = self.line()
            if line is None:
                return False
            if not re.fullmatch(rb"[0-9a-fA-F]+", line.split(b";")[0]):
                raise BadMessage(f"bad chunk size line {line!r}")
            self.left = int(line.split(b";")[0], 16)
            self.state = "data" if self.left else "trailers"
            return True
        if self.state == "data":
            take = min(self.left, len(self.buffer))
            self.body += self.buffer[:take]
            del self.buffer[:take]
            self.left -= take
            if self.left == 0:
                self.pieces += 1
                self.state = "crlf"
            return self.left == 0
        if self.state == "crlf":
            if len(self.buffer) < 2:
                return False
            if self.buffer[:2] != b"\r\n":
                raise BadMessage("no CRLF behind a chunk")
            del self.buffer[:2]
            self.state = "size"
            return True
        line = self.line()
        if line is None:
            return False
        if line == b"":
            self.done = True
        return True


def body_kind(fields):
    """("length", n) or ("chunked", 0) or (None, 0); both at once, or twice, is an error."""
    lengths, codings = fields.all("Content-Length"), fields.all("Transfer-Encoding")
    if codings:
        if lengths or len(codings) != 1 or codings[0].lower() != "chunked":
            raise BadMessage(f"framing by {lengths} and {codings}")
        return "chunked", 0
    if lengths:
        if len(lengths) != 1 or not re.fullmatch(r"\d+", lengths[0]):
            raise BadMessage(f"Content-Length {lengths}")
        return "length", int(lengths[0])
    return None, 0


class Response:
    """One response as it arrives. `end` is "" while open, then "clean", "truncated" or "reset"."""

    def __init__(self, method="GET"):
        self.method = method
        self.status = 0
        self.version = self.reason = ""
        self.fields = Fields([])
        self.interim = []
        self.raw_head = b""
        self.reader = None
        self.end = ""
        self.buffer = bytearray()

    @property
    def has_head(self):
        return self.reader is not None

    @property
    def body(self):
        return bytes(self.reader.body) if self.reader else b""

    @property
    def done(self):
        return self.end != ""

    @property
    def framing(self):
        return self.reader.kind

    @property
    def rest(self):
        """Bytes behind a finished response."""
        return bytes(self.reader.buffer if self.reader else self.buffer)

    def __getitem__(self, name):
        value = self.fields.get(name)
        assert value is not None, f"no {name} in\n{self.raw_head.decode('latin-1')}"
        return value

    def get(self, name, default=None):
        return self.fields.get(name, default)

    @property
    def cache_status(self):
        """Our own (the last) member of Cache-Status, as sent."""
        return self.fields.joined("Cache-Status").split(", ")[-1]

    @property
    def cache(self):
        """The same as a dict: "shield; hit; ttl=5" is {"hit": True, "ttl": 5}; who says it is `said_by`."""
        who, *parameters = [part.strip() for part in self.cache_status.split(";")]
        said = {"said_by": who}
        for parameter in parameters:
            name, equals, value = parameter.partition("=")
            said[name] = int(value) if re.fullmatch(r"-?\d+", value) else value if equals else True
        return said

    def feed(self, data):
        assert not self.done or not data, f"bytes behind the end: {data!r}"
        if self.reader is None:
            self.buffer += data
            while self.reader is None and self.take_head():
                pass
        else:
            self.reader.feed(data)
        if self.reader is not None and self.reader.done:
            self.end = "clean"

    def take_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        raw = bytes(self.buffer[:end + 4])
        del self.buffer[:end + 4]
        start, fields = parse_head(raw)
        match = re.fullmatch(r"HTTP/(1\.[01]) (\d{3}) ?(.*)", start)
        if not match:
            raise BadMessage(f"status line {start!r}")
        status = int(match.group(2))
        if status < 200:
            self.interim.append((status, fields))
            return True
        self.raw_head, self.version, self.status, self.reason = raw, match.group(1), status, match.group(3)
        self.fields = fields
        kind, length = body_kind(fields)
        if self.method == "HEAD" or status in (204, 304):
            kind, length = "none", 0
        self.reader = BodyReader(kind or "close", length)
        self.reader.feed(bytes(self.buffer))
        self.buffer.clear()
        return False

    def eof(self):
        """The peer closed its side properly."""
        if not self.done:
            close_ends = self.reader is not None and self.reader.kind == "close"
            self.end = "clean" if close_ends else "truncated"

    def reset(self):
        if not self.done:
            self.end = "reset"

    @property
    def is_cut(self):
        """Ended, and nobody could take what came for the whole."""
        return self.end in ("truncated", "reset")

    def __repr__(self):
        return f"<{self.status or 'no head'} {len(self.body)} bytes {self.end or 'open'} {self.cache_status}>"


def request_bytes(target, method="GET", host="edge.test", version="1.1", body=None, headers=(), **fields):
    """A request; keyword fields with _ for -, `headers` for what cannot be a keyword or comes twice."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if body is not None and not any(line.lower().startswith("transfer-encoding:") for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)
