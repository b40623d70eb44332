"""Request line, target, Host, fields, methods and expectations, byte by byte: RFC 9112 sections 2, 3 and 5, RFC 9110 sections 4.2,
5.5, 5.6, 7.2, 7.6, 9.3 and 10.1.1, RFC 3986 section 3.2. What is refused is answered, never forwarded, and ends its connection;
what is not goes upstream as the table says."""
import pytest

from http_text import request_bytes
from request_site import Site

HOST = b"Host: edge.test\r\n"
END = HOST + b"\r\n"
GET = b"GET /case HTTP/1.1\r\n" + HOST


@pytest.fixture(scope="module")
def site(module_lab):
    return Site(module_lab)


@pytest.fixture(params=[False, True], ids=["whole", "in bytes"])
def bytewise(request):
    return request.param


def line(text):
    """A request with this request line."""
    return text + b"\r\n" + END


def to(target, method=b"GET"):
    return line(method + b" " + target + b" HTTP/1.1")


def host(value):
    return b"GET /case HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


def field(text):
    """A request with this field line, and one behind it."""
    return GET + text + b"\r\nX-Last: 1\r\n\r\n"


REFUSED_LINES = {
    # RFC 9112 2.2: line ends and empty lines before the request
    "LF alone ends the request line": b"GET /case HTTP/1.1\n" + END,
    "LF alone ends a field": b"GET /case HTTP/1.1\r\nHost: edge.test\n\r\n",
    "LF alone ends the head": b"GET /case HTTP/1.1\r\nHost: edge.test\r\n\n",
    "LF alone throughout": b"GET /case HTTP/1.1\nHost: edge.test\n\n",
    "CR alone ends the request line": b"GET /case HTTP/1.1\rHost: edge.test\r\n\r\n",
    "CR CR LF": b"GET /case HTTP/1.1\r\r\n" + END,
    "CR CR LF behind a field": GET + b"X: y\r\r\n\r\n",
    "two empty lines first": b"\r\n\r\n" + line(b"GET /case HTTP/1.1"),
    "many empty lines first": b"\r\n" * 50 + line(b"GET /case HTTP/1.1"),
    "bare LF first": b"\n" + line(b"GET /case HTTP/1.1"),
    "bare CR first": b"\r" + line(b"GET /case HTTP/1.1"),
    "space first": b" " + line(b"GET /case HTTP/1.1"),
    "space behind an empty line": b"\r\n " + line(b"GET /case HTTP/1.1"),
    "NUL first": b"\0" + line(b"GET /case HTTP/1.1"),
    "byte order mark first": b"\xef\xbb\xbf" + line(b"GET /case HTTP/1.1"),
    # 2.3: versions
    "0.9": b"GET /case\r\n",
    "0.9 and a head": b"GET /case\r\n" + END,
    "0.9 with a space": b"GET /case \r\n" + END,
    "0.9 by name": line(b"GET /case HTTP/0.9"),
    "0.0": line(b"GET /case HTTP/0.0"),
    "1.10": line(b"GET /case HTTP/1.10"),
    "11.1": line(b"GET /case HTTP/11.1"),
    "01.1": line(b"GET /case HTTP/01.1"),
    "1,1": line(b"GET /case HTTP/1,1"),
    "1.": line(b"GET /case HTTP/1."),
    "1": line(b"GET /case HTTP/1"),
    "1.1x": line(b"GET /case HTTP/1.1x"),
    "1.x": line(b"GET /case HTTP/1.x"),
    "-1.1": line(b"GET /case HTTP/-1.1"),
    "+1.1": line(b"GET /case HTTP/+1.1"),
    "no slash": line(b"GET /case HTTP1.1"),
    "space within": line(b"GET /case HTTP/ 1.1"),
    "HTTPS/1.1": line(b"GET /case HTTPS/1.1"),
    "lower case": line(b"GET /case http/1.1"),
    "mixed case": line(b"GET /case Http/1.1"),
    "ICY": line(b"GET /case ICY/1.1"),
    "fullwidth digit": line(b"GET /case HTTP/1.\xef\xbc\x91"),
    # 3: one space and no other
    "two spaces before the target": line(b"GET  /case HTTP/1.1"),
    "two spaces before the version": line(b"GET /case  HTTP/1.1"),
    "space behind the version": line(b"GET /case HTTP/1.1 "),
    "tab behind the version": line(b"GET /case HTTP/1.1\t"),
    "word behind the version": line(b"GET /case HTTP/1.1 x"),
    "tab before the target": line(b"GET\t/case HTTP/1.1"),
    "tab before the version": line(b"GET /case\tHTTP/1.1"),
    "VT before the target": line(b"GET\x0b/case HTTP/1.1"),
    "FF before the target": line(b"GET\x0c/case HTTP/1.1"),
    "CR before the target": line(b"GET\r/case HTTP/1.1"),
    "NBSP before the target": line(b"GET\xa0/case HTTP/1.1"),
    "no target": line(b"GET HTTP/1.1"),
    "two spaces for a target": line(b"GET  HTTP/1.1"),
    "no method": line(b"/case HTTP/1.1"),
    "empty method": line(b" /case HTTP/1.1"),
    "response": b"HTTP/1.1 200 OK\r\n" + END,
    # 3.1, RFC 9110 9.1: a method is a token
    **{f"method with {byte!r}": line(b"GE" + byte + b"T /case HTTP/1.1") for byte in
       (b"(", b")", b"<", b">", b"@", b",", b";", b":", b"\\", b'"', b"/", b"[", b"]", b"?", b"=", b"{", b"}", b"\0", b"\x01",
        b"\x7f", b"\x80", b"\xc3\xa9")},
    "quoted method": line(b'"GET" /case HTTP/1.1'),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n" + END,
}

REFUSED_TARGETS = {
    # RFC 9112 3.2: no byte but those of a URI
    **{f"byte {n:#04x}": to(b"/ca" + bytes([n]) + b"se") for n in (*range(0x21), 0x7f) if n != 0x0a},
    **{f"byte {n:#04x} in a query": to(b"/case?a=" + bytes([n])) for n in (0, 9, 0x0b, 0x0d, 0x1f, 0x7f, 0x80, 0xff)},
    "LF": to(b"/ca\nse"),
    "raw UTF-8": to("/caf\u00e9".encode()),
    "raw Latin-1": to(b"/caf\xe9"),
    "raw UTF-8 in a query": to("/case?q=\u00e9".encode()),
    "overlong slash": to(b"/..\xc0\xaf"),
    "NBSP": to(b"/case\xa0"),
    "fragment": to(b"/case#part"),
    "empty fragment": to(b"/case#"),
    "fragment in a query": to(b"/case?a#b"),
    "fragment in absolute-form": to(b"http://edge.test/case#part"),
    "fragment for a path": to(b"http://edge.test#part"),
    # 3.2.1 to 3.2.4: the four forms
    "relative": to(b"case"),
    "dot": to(b"./case"),
    "query alone": to(b"?case"),
    "semicolon": to(b";case"),
    "percent alone": to(b"%2Fcase"),
    "backslash": to(b"\\case"),
    "authority for GET": to(b"edge.test"),
    "authority with a port for GET": to(b"edge.test:80"),
    "asterisk for GET": to(b"*"),
    "asterisk for POST": to(b"*", b"POST"),
    "asterisk for PUT": to(b"*", b"PUT"),
    "asterisk for HEAD": to(b"*", b"HEAD"),
    "asterisk for another method": to(b"*", b"OPTION"),
    "asterisk and more": to(b"*/case", b"OPTIONS"),
    "two asterisks": to(b"**", b"OPTIONS"),
    "asterisk with a query": to(b"*?x", b"OPTIONS"),
    "options for an authority": to(b"edge.test:80", b"OPTIONS"),
    # RFC 9110 4.2, RFC 3986 3.2: what an absolute URI may be
    "other scheme": to(b"ftp://edge.test/case"),
    "websocket scheme": to(b"ws://edge.test/case"),
    "file scheme": to(b"file:///case"),
    "javascript scheme": to(b"javascript:alert(1)"),
    "data scheme": to(b"data:,x"),
    "no scheme": to(b"://edge.test/case"),
    "scheme that is only like it": to(b"httpx://edge.test/case"),
    "scheme with one slash": to(b"http:/case"),
    "scheme with no slash": to(b"http:case"),
    "scheme with three slashes": to(b"http:///case"),
    "scheme with backslashes": to(b"http:\\\\edge.test\\case"),
    "scheme alone": to(b"http://"),
    "empty host": to(b"http:///"),
    "empty host with a query": to(b"http://?case"),
    "empty host with a port": to(b"http://:80/case"),
    "userinfo": to(b"http://user@edge.test/case"),
    "userinfo with a password": to(b"http://user:pw@edge.test/case"),
    "empty userinfo": to(b"http://@edge.test/case"),
    "userinfo and no host": to(b"http://user@/case"),
    "port with letters": to(b"http://edge.test:8o/case"),
    "port with a sign": to(b"http://edge.test:+80/case"),
    "port below zero": to(b"http://edge.test:-1/case"),
    "port above all": to(b"http://edge.test:65536/case"),
    "port far above all": to(b"http://edge.test:99999999999999999999/case"),
    "two ports": to(b"http://edge.test:80:80/case"),
    "backslash in the authority": to(b"http://edge.test\\@other.test/case"),
    "open bracket": to(b"http://[::1/case"),
    "bytes behind the bracket": to(b"http://[::1]x/case"),
    "no address in brackets": to(b"http://[]/case"),
    "name in brackets": to(b"http://[edge.test]/case"),
    "IPv6 without brackets": to(b"http://::1/case"),
    "zone of an address": to(b"http://[fe80::1%25eth0]/case"),
    "half an escape in the host": to(b"http://edge%2/case"),
    "bad escape in the host": to(b"http://edge%zz/case"),
    "quotes in the host": to(b'http://"edge"/case'),
    "two hosts": to(b"http://edge.test,other.test/case"),
    # 3.2.3, RFC 9110 9.3.6
    "CONNECT without a port": to(b"edge.test", b"CONNECT"),
    "CONNECT with an empty port": to(b"edge.test:", b"CONNECT"),
    "CONNECT to port 0": to(b"edge.test:0", b"CONNECT"),
    "CONNECT to port 65536": to(b"edge.test:65536", b"CONNECT"),
    "CONNECT to a path": to(b"/case", b"CONNECT"),
    "CONNECT to a URI": to(b"http://edge.test:80/", b"CONNECT"),
    "CONNECT to nobody": to(b":443", b"CONNECT"),
    "CONNECT with userinfo": to(b"u@edge.test:443", b"CONNECT"),
    "CONNECT with a path behind": to(b"edge.test:443/", b"CONNECT"),
}

REFUSED_HOSTS = {
    # RFC 9112 3.2
    "none": b"GET /case HTTP/1.1\r\n\r\n",
    "none in absolute-form": b"GET http://edge.test/case HTTP/1.1\r\n\r\n",
    "none in 1.2": b"GET /case HTTP/1.2\r\n\r\n",
    "none but in a name that is like it": b"GET /case HTTP/1.1\r\nHosts: edge.test\r\n\r\n",
    "two": GET + b"Host: other.test\r\n\r\n",
    "the same twice": GET + HOST + b"\r\n",
    "two in HTTP/1.0": b"GET /case HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
    "two in other cases": GET + b"X: y\r\nhOST: edge.test\r\n\r\n",
    "two and absolute-form": b"GET http://edge.test/case HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "empty beside a good one": GET + b"Host:\r\n\r\n",
    "bad in absolute-form": b"GET http://edge.test/case HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "bad in HTTP/1.0": b"GET /case HTTP/1.0\r\nHost: a b\r\n\r\n",
    **{f"{value!r}": host(value) for value in (
        b"", b" ", b"a b", b"a\tb", b"a, b", b"a,b", b"a,", b"a/", b"a/b", b"/a", b"a?b", b"a#b", b"a@b", b"@a", b"u:p@a", b"a\\b", b"a\"b",
        b"\"a\"", b"<a>", b"a^b", b"a`b", b"a{b}", b"a|b", b"a%", b"a%4", b"a%zz", b"a\x00b", b"a\x01b", b"a\x7fb", b"a\x0bb", b"a\rb",
        "caf\u00e9.test".encode(), b"a\xa0", b"http://edge.test", b"http://edge.test/", b"//edge.test",
        # RFC 3986 3.2.2 and 3.2.3
        b":", b":80", b"a:b", b"a:8o", b"a:+80", b"a:-80", b"a:0x50", b"a: 80", b"a :80", b"a:80 80", b"a:80:80", b"a:80,", b"a:65536",
        b"a:99999999999999999999", b"a::80", b"::1", b"2001:db8::1", b"[::1", b"::1]", b"[]", b"[", b"]", b"[a]", b"[1.2.3.4]",
        b"[::1]x", b"[::1]:x", b"[::1]80", b"[::1]:65536", b"[::1][::1]", b"x[::1]", b"[::1%25lo]", b"[::1%lo]", b"[:::1]",
        b"[1::2::3]", b"[::g]", b"[1:2:3:4:5:6:7:8:9]", b"[::12345]", b"[::1.2.3]", b"[::1.2.3.256]", b"[v1]", b"[v.x]", b"[v1.]",
        b"[vg.x]", b"[v1.a/b]", b"[::1 ]", b"[ ::1]")},
}

REFUSED_FIELDS = {
    # RFC 9112 5.1
    "space before the colon": b"X-A : b",
    "tab before the colon": b"X-A\t: b",
    "space in the name": b"X A: b",
    "space before a colon and nothing": b"X-A :",
    "no colon": b"X-A",
    "no colon and a value": b"X-A b",
    "no name": b": b",
    "colon alone": b":",
    "space alone": b" ",
    "space before Content-Length's colon": b"Content-Length : 5",
    "space before Transfer-Encoding's colon": b"Transfer-Encoding : chunked",
    **{f"name with {byte!r}": b"X" + byte + b"A: b" for byte in
       (b"(", b")", b"<", b">", b"@", b",", b";", b"\\", b'"', b"/", b"[", b"]", b"?", b"=", b"{", b"}", b"\0", b"\x01", b"\x0b",
        b"\x0c", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa9", b"\xa0", b"\r", b"\n")},
    "control before the name": b"\x01X-A: b",
    "NUL before the name": b"\0X-A: b",
    # 5.2
    "folded with a space": b"X-A: b\r\n c",
    "folded with a tab": b"X-A: b\r\n\tc",
    "folded with an empty line of spaces": b"X-A: b\r\n \r\nX-B: c",
    "folded before the value": b"X-A:\r\n b",
    "folded Transfer-Encoding": b"Transfer-Encoding:\r\n chunked",
    "folded Content-Length": b"Content-Length:\r\n 5",
    "folded Connection": b"Connection: x\r\n , close",
    # RFC 9110 5.5
    **{f"value with {n:#04x}": b"X-A: b" + bytes([n]) + b"c" for n in (*range(0x20), 0x7f) if n != 9},
    "CR at the end of a value": b"X-A: b\r",
    "CR before a value": b"X-A: \rb",
    "NUL at the end of a value": b"X-A: b\0",
    "NUL in a value of Host": b"X-Host: a\0b",
    "LF in a value": b"X-A: b\nX-B: c",
    "CR and a field": b"X-A: b\rX-B: c",
    # they may not hide behind a bare CR
    "CR hides framing": b"X-A: b\rContent-Length: 5",
    "CR hides chunked": b"X-A: b\rTransfer-Encoding: chunked",
}

FIRST_LINES = {
    "space before the first field": b"GET /case HTTP/1.1\r\n " + END,
    "tab before the first field": b"GET /case HTTP/1.1\r\n\t" + END,
    "line of a space before the first field": b"GET /case HTTP/1.1\r\n \r\n" + END,
    "folded request line": b"GET /case\r\n HTTP/1.1\r\n" + END,
    "folded Host": b"GET /case HTTP/1.1\r\nHost:\r\n edge.test\r\n\r\n",
    "Host that goes on in a fold": b"GET /case HTTP/1.1\r\nHost: edge\r\n .test\r\n\r\n",
    "space before Host's colon": b"GET /case HTTP/1.1\r\nHost : edge.test\r\n\r\n",
    "CR for CRLF behind Host": b"GET /case HTTP/1.1\r\nHost: edge.test\rX: y\r\n\r\n",
}

REFUSED = {
    **{f"line: {name}": raw for name, raw in REFUSED_LINES.items()},
    **{f"target: {name}": raw for name, raw in REFUSED_TARGETS.items()},
    **{f"host: {name}": raw for name, raw in REFUSED_HOSTS.items()},
    **{f"field: {name}": field(raw) for name, raw in REFUSED_FIELDS.items()},
    **{f"head: {name}": raw for name, raw in FIRST_LINES.items()},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(site, name):
    site.refused(REFUSED[name], [400])


@pytest.mark.parametrize("name", [name for name in REFUSED if name.startswith(("line", "head"))])
def test_refused_in_single_bytes(site, name):
    site.refused(REFUSED[name], [400], bytewise=True)


@pytest.mark.parametrize("raw", [b"GET /case HTTP/1.1\rHost: edge.test\r\r", b"GET /case\rX", b"\rG", b"GET /case HTTP/1.1\r\nHost: edge.test\r\r",
                                 b"GET /case HTTP/1.1\r\nX: y\rz", b"GET /case HTTP/1.1\r\nX\0", b"\x16\x03\x01\x00", b"\0"])
def test_what_nothing_can_mend_is_refused_at_once(site, raw, bytewise):
    """Without a line end: the client waits for its answer, and so does the test."""
    client = site.send(raw, bytewise=bytewise)
    answer = client.response()
    assert answer.status == 400 and client.at_end()
    client.close()
    site.still_serves()


OTHERWISE = {
    "HTTP/2.0": (line(b"GET /case HTTP/2.0"), 505),
    "HTTP/3.0": (line(b"GET /case HTTP/3.0"), 505),
    "HTTP/9.9": (line(b"GET /case HTTP/9.9"), 505),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "target too long": (to(b"/" + b"a" * 17000), 414),
    "target without end": (b"GET /" + b"a" * 70000, 414),
    "method without end": (b"A" * 70000, 431),
    "field too long": (field(b"X-A: " + b"b" * 70000), 431),
    "name too long": (field(b"X" * 70000 + b": b"), 431),
    "too many fields": (field(b"\r\n".join([b"X: y"] * 300)), 431),
    "head too large": (field(b"\r\n".join([b"X-A: " + b"b" * 1000] * 100)), 431),
    "CONNECT": (to(b"edge.test:443", b"CONNECT"), 405),
    "CONNECT to an address": (to(b"[::1]:443", b"CONNECT"), 405),
    "CONNECT with content": (b"CONNECT edge.test:443 HTTP/1.1\r\nContent-Length: 4\r\n" + END + b"abcd", 405),
    **{f"Expect: {value.decode()}": (b"POST /case HTTP/1.1\r\n" + HOST + b"Expect: " + value + b"\r\nContent-Length: 2\r\n\r\nhi", 417)
       for value in (b"200-ok", b"100-continue, x=y", b"x, 100-continue", b"100-continue\r\nExpect: x", b"100-continue;q=1", b"100")},
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_refused_with_another_status(site, name):
    raw, status = OTHERWISE[name]
    site.refused(raw, [status], method="CONNECT" if name.startswith("CONNECT") else "GET")


@pytest.mark.parametrize("raw", [b"HEAD /case HTTP/1.1\r\n\r\n", b"HEAD /case HTTP/1.1\r\nHost: a b\r\n\r\n", b"\r\nHEAD /case\r\n",
                                 b"HEAD /case HTTP/1.1\r\n" + HOST + b"X-A : b\r\n\r\n",
                                 b"HEAD /case HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n"])
def test_a_refused_head_has_no_content(site, raw, bytewise):
    """RFC 9110 section 9.3.2."""
    assert int(site.refused(raw, [400], bytewise, "HEAD")["Content-Length"]) > 0


@pytest.mark.parametrize("target", ["/case", "*", "http://edge.test/case"])
def test_trace_is_not_done(site, target):
    client = site.send(request_bytes(target, "TRACE", Max_Forwards="0"), ["TRACE"])
    answer = client.response()
    client.close()
    assert answer.status == (400 if target == "*" else 405) and b"TRACE" not in answer.body
    site.still_serves()


# what is not refused

GOOD_LINES = {
    "1.1": (line(b"GET /case HTTP/1.1"), {}),
    "1.2 is read as 1.1": (line(b"GET /case HTTP/1.2"), {}),
    "1.9 is read as 1.1": (line(b"GET /case HTTP/1.9"), {}),
    "one empty line first": (b"\r\n" + line(b"GET /case HTTP/1.1"), {}),
    **{method.decode(): (to(b"/case", method), {"method": method.decode()}) for method in
       (b"get", b"Get", b"gET", b"PROPFIND", b"M-SEARCH", b"X", b"PATCH", b"QUERY", b"UNLOCK", b"!#$%&'*+-.^_`|~09", b"trace",
        b"connect", b"M" * 1024)},
    # targets go on as they came: RFC 9110 section 7.7
    **{target.decode(): (to(target), {"target": target.decode()}) for target in
       (b"/", b"//", b"//edge.test/case", b"/a//b", b"/./a", b"/a/../b", b"/..", b"/%2e%2e/", b"/%00", b"/%0d%0a", b"/%C3%A9", b"/%zz", b"/%",
        b"/a%2", b"/?", b"/??", b"/?a=b&c", b"/;a=b", b"/a;b", b"/a:b@c", b"/http://other.test/", b"/~user", b"/a'b(c)*d!e$f,g", b"/a+b",
        b"/*", b'/"<>\\^`{|}', b'/?"<>\\^`{|}[]', b"/" + b"a" * 8000)},
    # absolute-form: RFC 9112 sections 3.2.1 and 3.2.2
    **{target.decode(): (to(target), {"target": path.decode(), "host": authority.decode()}) for target, authority, path in (
        (b"http://named.test/case", b"named.test", b"/case"),
        (b"HTTP://named.test/case", b"named.test", b"/case"),
        (b"https://named.test/case", b"named.test", b"/case"),
        (b"http://named.test", b"named.test", b"/"),
        (b"http://named.test/", b"named.test", b"/"),
        (b"http://named.test?q", b"named.test", b"/?q"),
        (b"http://named.test?/q", b"named.test", b"/?/q"),
        (b"http://named.test:8080/case", b"named.test:8080", b"/case"),
        (b"http://[::1]/case", b"[::1]", b"/case"),
        (b"http://[::1]:8080/case", b"[::1]:8080", b"/case"),
        (b"http://127.0.0.1/case", b"127.0.0.1", b"/case"),
        (b"http://named.test//case", b"named.test", b"//case"),
        (b"http://named.test/http://other.test/", b"named.test", b"/http://other.test/"))},
    "asterisk": (to(b"*", b"OPTIONS"), {"method": "OPTIONS", "target": "*"}),
    "asterisk in absolute-form": (to(b"http://named.test", b"OPTIONS"), {"method": "OPTIONS", "target": "*", "host": "named.test"}),
    "a path is no asterisk": (to(b"http://named.test/", b"OPTIONS"), {"method": "OPTIONS", "target": "/", "host": "named.test"}),
    # Host: RFC 3986 section 3.2.2; in lower case, as it is keyed
    **{f"Host {name.decode()}": (host(name), {"host": name.decode().lower()}) for name in
       (b"a", b"edge.test.", b"under_score.test", b"-a-", b"xn--caf-dma.test", b"1.2.3.4", b"999.1", b"[::1]", b"[::1]:8080", b"[2001:DB8::1]",
        b"[::ffff:1.2.3.4]", b"[v1.x:y]", b"a:1", b"a:65535", b"a%41", b"a!$&'()*+;=~", b"a" * 300)},
    "Host in spaces": (host(b" \t edge.test \t "), {}),
    "Host without a space": (b"GET /case HTTP/1.1\r\nHost:edge.test\r\n\r\n", {}),
    "HOST": (b"GET /case HTTP/1.1\r\nHOST: edge.test\r\n\r\n", {}),
    "Host behind others": (b"GET /case HTTP/1.1\r\nX: y\r\nHost: edge.test\r\n\r\n", {}),
    # field values: RFC 9110 section 5.5
    **{f"value {value!r}": (field(b"X-A:" + value), {"more": {"X-A": value.strip(b" \t").decode("latin-1")}}) for value in
       (b"", b" ", b"\t", b"b", b" b", b"\tb\t", b"   b   c   ", b"b\tc", b'"b', b'\\"', b"caf\xc3\xa9", b"\x80\xff", b"\xa0", b":", b"::b", b",", b"a:b")},
    **{f"name with {byte.decode()}": (field(b"X" + byte + b"A: b"), {"more": {f"X{byte.decode()}A": "b"}}) for byte in
       (b"!", b"#", b"$", b"%", b"&", b"'", b"*", b"+", b"-", b".", b"^", b"_", b"`", b"|", b"~", b"0")},
    # section 10.1.1
    "Expect without content": (GET + b"Expect: 100-continue\r\n\r\n", {"more": {"Expect": None}}),
    "Expect in capitals": (GET + b"eXPECT: 100-Continue\r\n\r\n", {"more": {"Expect": None}}),
    "Expect twice": (GET + b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", {"more": {"Expect": None}}),
    "Expect of nothing": (GET + b"Expect:\r\n\r\n", {"more": {"Expect": None}}),
}


@pytest.mark.parametrize("name", GOOD_LINES)
def test_passed(site, name):
    raw, seen = GOOD_LINES[name]
    site.passed(raw, **seen)


@pytest.mark.parametrize("name", [name for name in GOOD_LINES if len(GOOD_LINES[name][0]) < 200][::4])
def test_passed_in_single_bytes(site, name):
    raw, seen = GOOD_LINES[name]
    site.passed(raw, **seen, bytewise=True)


def test_http_1_0_without_host(site):
    """RFC 9112 section 3.2.2: 1.0 knows no Host; upstream speaks 1.1 and gets that of the origin."""
    client = site.send(b"GET /case HTTP/1.0\r\n\r\n")
    answer = client.response()
    assert answer.status == 200 and client.at_end()
    client.close()
    site.whole += 1
    assert site.origin.requests()[-1].get("Host") == f"127.0.0.1:{site.origin.port}"


@pytest.mark.parametrize("expect", [b"100-continue", b"200-ok"])
def test_http_1_0_expects_nothing(site, expect):
    """RFC 9110 section 10.1.1: the expectation of an HTTP/1.0 client is ignored."""
    client = site.send(b"POST /case HTTP/1.0\r\n" + HOST + b"Expect: " + expect + b"\r\nContent-Length: 2\r\n\r\nhi", ["POST"])
    answer = client.response()
    client.close()
    assert answer.status == 200 and answer.interim == []
    site.whole += 1
    assert "Expect" not in site.origin.requests()[-1]


# hop-by-hop: RFC 9110 section 7.6.1

KEPT = {"Host": "edge.test", "Authorization": "Basic eA==", "Cookie": "a=b", "Cache-Control": "no-cache", "Accept-Language": "en",
        "Pragma": "no-cache", "Content-Type": "text/x", "If-Match": '"a"', "Via": "1.0 edge, 1.1 shield"}
GONE = ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Transfer-Encoding", "Proxy-Authorization",
        "HTTP2-Settings", "X-Hop", "Close", "X-Quoted"]
HOPS = b"".join(name.encode() + b": x\r\n" for name in GONE if name not in ("Connection", "Transfer-Encoding", "X-Quoted"))


@pytest.mark.parametrize("connection", [
    b"X-Hop, Close2, Keep-Alive, TE, Upgrade, HTTP2-Settings, close",
    b"x-hOP,,\t, CLOSE2 ,Host, Content-Length, Transfer-Encoding, Cache-Control, Authorization, Cookie, Pragma, close",
    b"Accept-Language, Content-Type, If-Match, Via, CDN-Loop, Range, Accept-Encoding, X-Hop, close",
    b'"x, X-Hop, close, y"',
])
def test_what_connection_takes_away(site, connection):
    fields = b"".join(f"{name}: {value}\r\n".encode() for name, value in KEPT.items() if name not in ("Host", "Via"))
    client = site.send(GET + b"Via: 1.0 edge\r\n" + fields + HOPS + b"Connection: " + connection + b"\r\n\r\n" +
                       request_bytes("/smuggled"))
    answer = client.response()
    assert answer.status == 200 and answer["Connection"] == "close" and client.at_end()
    client.close()
    site.whole += 1
    site.balance()
    seen = site.origin.requests()[-1]
    assert {name: seen.fields.joined(name) for name in KEPT} == KEPT
    assert [name for name in GONE if name in seen and name != "Close"] == []


@pytest.mark.parametrize("connection, version, stays", [
    (b"close", b"1.1", False), (b"CLOSE", b"1.1", False), (b"x,close", b"1.1", False), (b"close, keep-alive", b"1.1", False),
    (b"keep-alive, close", b"1.0", False), (b" , ,Close, ", b"1.1", False), (b"keep-alive", b"1.1", True), (b"closed", b"1.1", True),
    (b"", b"1.1", True), (b"x", b"1.0", False), (b"Keep-Alive", b"1.0", True), (b"x, KEEP-ALIVE", b"1.0", True),
    (b"keep-alive\r\nConnection: close", b"1.1", False), (b"close\r\nConnection: keep-alive", b"1.0", False)])
def test_after_close_nothing_is_a_request(site, connection, version, stays):
    """RFC 9112 section 9.3, 9.6."""
    client = site.send(b"GET /case HTTP/" + version + b"\r\n" + HOST + b"Connection: " + connection + b"\r\n\r\n" +
                       request_bytes("/next" if stays else "/smuggled"))
    assert client.response().status == 200
    if stays:
        assert client.response().status == 200
    else:
        assert client.at_end()
    client.close()
    site.whole += 2 if stays else 1
    site.still_serves()


UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    "h2c without Connection": b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n",
    "HTTP/2 in two lines": b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: h2c\r\n",
}


@pytest.mark.parametrize("name", UPGRADES)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_an_upgrade_is_neither_done_nor_passed_on(site, name, method):
    """RFC 9110 section 7.8: a server may ignore it, and what follows is HTTP/1.1 as before."""
    seen = site.passed(f"{method} /case HTTP/1.1\r\n".encode() + HOST + UPGRADES[name] + b"\r\n", method=method)
    assert not any(field in seen for field in ("Upgrade", "Connection", "HTTP2-Settings"))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_101_of_the_origin_is_its_mistake(lab, method):
    """Nothing was asked to be upgraded there: no tunnel, and what stands behind the 101 is nobody's answer."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).send(f"{method} /case HTTP/1.1\r\n".encode() + HOST + UPGRADES["websocket"] + b"\r\n", [method])
    held = origin.expect("/case")
    held.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\n"
              b"Content-Length: 4\r\n\r\nevil")
    answer = client.response()
    assert answer.status == 502 and answer.interim == []
    held.wait_closed()
    client.request("/next")
    origin.expect("/next").respond(200, body=b"next")
    assert client.response().body == b"next"


# Max-Forwards: RFC 9110 section 7.6.2

@pytest.mark.parametrize("value, goes", [("1", "0"), ("00010", "9"), ("-1", "-1"), ("x", "x"), ("", ""), ("1.5", "1.5")])
def test_max_forwards_of_options(site, value, goes):
    seen = site.passed(b"OPTIONS /case HTTP/1.1\r\n" + HOST + f"Max-Forwards: {value}\r\n\r\n".encode(), method="OPTIONS")
    assert seen.get("Max-Forwards") == goes
