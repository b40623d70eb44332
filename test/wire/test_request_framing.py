"""Where a request ends: RFC 9112 sections 6, 7, 8 and 9, RFC 9110 sections 6.5 and 8.6. What two readers could take for different
requests is refused and ends its connection; what ends early is never shown to the origin as whole. Each case goes out whole and
in single bytes."""
import threading

import pytest

from http_text import chunk, request_bytes
from request_site import SMUGGLED, Site
from scripted_origin import cacheable

HOST = b"Host: edge.test\r\n"
POST = b"POST /case HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def site(module_lab):
    return Site(module_lab)


@pytest.fixture(params=[False, True], ids=["whole", "in bytes"])
def bytewise(request):
    return request.param


def framed(fields, content=b"", start=b"POST /case HTTP/1.1\r\n"):
    return start + HOST + fields + b"\r\n\r\n" + content


def coding(value, content=LAST):
    return framed(b"Transfer-Encoding:" + value, content)


def length(value, content=b"hello"):
    return framed(b"Content-Length:" + value, content)


BAD_HEADS = {
    # RFC 9112 6.1: both
    "length and chunked": framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked", LAST),
    "chunked and length": framed(b"Transfer-Encoding: chunked\r\nContent-Length: 5", LAST),
    "length 0 and chunked": framed(b"Content-Length: 0\r\nTransfer-Encoding: chunked", LAST),
    "length and identity": framed(b"Content-Length: 5\r\nTransfer-Encoding: identity", b"hello"),
    "length and no coding": framed(b"Content-Length: 5\r\nTransfer-Encoding:", b"hello"),
    "length, chunked and Connection": framed(b"Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", LAST),
    "chunked, length and Connection": framed(b"Connection: Content-Length\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", LAST),
    "bad length and chunked": framed(b"Content-Length: x\r\nTransfer-Encoding: chunked", LAST),
    "both in a GET": framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked", LAST, b"GET /case HTTP/1.1\r\n"),
    "both in a HEAD": framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked", LAST, b"HEAD /case HTTP/1.1\r\n"),
    "both in other cases": framed(b"content-LENGTH: 5\r\ntransfer-ENCODING: CHUNKED", LAST),
    # 6.1: no transfer codings before 1.1
    "chunked in 1.0": framed(b"Transfer-Encoding: chunked", LAST, b"POST /case HTTP/1.0\r\n"),
    "chunked in 1.0, kept alive": framed(b"Connection: keep-alive\r\nTransfer-Encoding: chunked", LAST, b"POST /case HTTP/1.0\r\n"),
    "chunked and length in 1.0": framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked", LAST, b"POST /case HTTP/1.0\r\n"),
    "identity in 1.0": framed(b"Transfer-Encoding: identity", b"", b"POST /case HTTP/1.0\r\n"),
    # 6.3, 7: one final chunked
    **{f"coding {value!r}": coding(value) for value in (
        b"", b" ", b" identity", b" gzip", b" x", b" chunke", b" chunkedd", b" xchunked", b" x chunked", b" chunked x", b" chunked chunked",
        b" chunked, identity", b" chunked, gzip", b" chunked, chunked", b" chunked,chunked", b" gzip, chunked, chunked", b" chunked, x",
        b" chunked;q=1", b" chunked;", b" chunked; a=b", b" ;chunked", b" ,chunked", b" chunked,", b" ,", b" , chunked, ", b' "chunked"', b" 'chunked'",
        b" \"chunked", b" chunk ed", b" \x0bchunked", b" \x0cchunked", b"\x0bchunked", b" chunked\x0b", b" chunked\x0c", b" \xa0chunked", b" chunked\xa0",
        b" \x00chunked", b" chunked\x00", b" \x7fchunked", b" \rchunked", b" chunked\r", b" chunked\x1f", b" \xef\xbb\xbfchunked", b" chunked\xc2\x85",
        b" ch\xc5\xabnked", b" [chunked]", b" (chunked)", b" =chunked", b" chunked=", b" :chunked", b"\r\n chunked", b"\r\n\tchunked", b" \r\n chunked",
        b" \nchunked")},
    "chunked twice in two lines": framed(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", LAST),
    "chunked and identity in two lines": framed(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", LAST),
    "chunked and nothing in two lines": framed(b"Transfer-Encoding: chunked\r\nTransfer-Encoding:", LAST),
    "nothing and chunked in two lines": framed(b"Transfer-Encoding:\r\nTransfer-Encoding: chunked", LAST),
    "chunked and x in two lines": framed(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", LAST),
    "space before the colon": framed(b"Transfer-Encoding : chunked", LAST),
    "tab before the colon": framed(b"Transfer-Encoding\t: chunked", LAST),
    "control before the colon": framed(b"Transfer-Encoding\x0b: chunked", LAST),
    "space before the name": framed(b" Transfer-Encoding: chunked", LAST),
    "chunked, folded to another field": framed(b"X: y\r\n Transfer-Encoding: chunked", LAST),
    # RFC 9110 8.6
    **{f"length {value!r}": length(value) for value in (
        b"", b" ", b" x", b" +5", b" -5", b" -0", b" +0", b" 0x5", b" 0X5", b" 5x", b" x5", b" 5 5", b" 5,5", b" 5, 5", b" 5, 6", b" 5,", b" ,5", b" ,", b" 5;", b" 5;q=1",
        b" 5.0", b" 5e0", b" 0b101", b" 0o5", b" 1_0", b" \"5\"", b" '5'", b" (5)", b" 5\x00", b" \x005", b" \x0b5", b" 5\x0b", b" \x0c5", b" 5\x0c", b" 5\r", b" \xa05",
        b" 5\xa0", b" \xd9\xa5", b" \xef\xbc\x95", b" NaN", b" inf", b" ff", b" five", b"\r\n 5", b" 5\r\n 5", b" 5\r\n ", b" 9223372036854775808",
        b" 18446744073709551615", b" 18446744073709551616", b" 18446744073709551621", b" 4294967296000000000000005", b" " + b"9" * 1000)},
    "two lengths": framed(b"Content-Length: 5\r\nContent-Length: 6", b"hello!"),
    "two lengths with a field between": framed(b"Content-Length: 5\r\nX: y\r\nContent-Length: 0", b"hello"),
    "the same length twice": framed(b"Content-Length: 5\r\nContent-Length: 5", b"hello"),
    "a length and an empty one": framed(b"Content-Length: 5\r\nContent-Length:", b"hello"),
    "a length, and one in other letters": framed(b"Content-Length: 5\r\ncontent-length: 05", b"hello"),
    "bad length in a GET": framed(b"Content-Length: x", b"", b"GET /case HTTP/1.1\r\n"),
    "bad length in 1.0": framed(b"Content-Length: -1", b"", b"POST /case HTTP/1.0\r\n"),
    "bad length in OPTIONS for us": framed(b"Max-Forwards: 0\r\nContent-Length: x", b"", b"OPTIONS * HTTP/1.1\r\n"),
    "space before the length's colon": framed(b"Content-Length : 5", b"hello"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_framing_that_is_refused(site, name, bytewise):
    raw = BAD_HEADS[name]
    site.refused(raw, [400], bytewise, "HEAD" if raw.startswith(b"HEAD") else "POST")


@pytest.mark.parametrize("value", [b"gzip, chunked", b"identity, chunked", b"x, chunked", b"gzip\r\nTransfer-Encoding: chunked", b"gzip;q=1,chunked",
                                   b'x="a,chunked", chunked'])
def test_codings_that_are_not_known(site, value, bytewise):
    """RFC 9112 section 6.1: 501 is for a coding before a final chunked."""
    site.refused(coding(b" " + value), [501], bytewise)


BAD_CHUNKS = {
    # RFC 9112 7.1
    **{f"size {value!r}": value + b"\r\nabc\r\n" + LAST for value in (
        b"", b" ", b" 3", b"\t3", b"3 ", b"3\t", b"+3", b"-3", b"-0", b"0x3", b"0X3", b"3x", b"x", b"g", b"3g", b"3h", b"3.0", b"3 3", b"3,3", b"03 x", b"\x003", b"3\x00",
        b"\x0b3", b"3\x0b", b"3\x0c", b"\xa03", b"3\xa0", b"\"3\"", b"(3)", b"3_", b"_3", b"3h", b"3L", b"3\x7f", b"00000000000000003", b"fffffffffffffffff",
        b"ffffffffffffffff", b"8000000000000000", b"10000000000000003", b"f" * 100, b"\xef\xbc\x93", b"\r3", b"3\r", b"3\r\r", b"\n3", b"\r\n3")},
    "LF alone behind the size": b"3\nabc\r\n" + LAST,
    "LF alone behind the data": b"3\r\nabc\n" + LAST,
    "LF alone behind the last size": b"3\r\nabc\r\n0\n\r\n",
    "LF alone at the end": b"3\r\nabc\r\n0\r\n\n",
    "LF alone throughout": b"3\nabc\n0\n\n",
    "CR alone behind the size": b"3\rabc\r\n" + LAST,
    "CR alone behind the data": b"3\r\nabc\r" + LAST,
    "CR alone behind the last size": b"3\r\nabc\r\n0\r\r\n",
    "CR alone at the end": b"3\r\nabc\r\n0\r\n\rX",
    "CR X behind the size": b"3\rX\nabc\r\n" + LAST,
    "nothing behind the data": b"3\r\nabc" + LAST,
    "data longer than the size": b"3\r\nabcd\r\n" + LAST,
    "data shorter than the size": b"4\r\nabc\r\n" + LAST,
    "two CRLF behind the data": b"3\r\nabc\r\n\r\n" + LAST,
    "size 0 with data": b"0\r\nabc\r\n" + LAST,
    "empty line first": b"\r\n3\r\nabc\r\n" + LAST,
    "no size": b"xyz\r\n" + LAST,
    "a request for a size": request_bytes("/smuggled"),
    # 7.1.1
    **{f"extension {value!r}": b"3" + value + b"\r\nabc\r\n" + LAST for value in (
        b";", b"; ", b";;a", b";a;", b";a=", b";a=;b", b";=b", b";a= ", b";a=b c", b";a b", b';a="b', b';a="b"c', b';a="b\\"', b';a="b" c', b";a=\x00", b";\x00", b";a\x00",
        b";a=\x7f", b";a=\x0b", b";a\r", b";a\rb", b";a\nb", b";a\n", b';a="\r"', b';a="\n"', b';a="\x00"', b';a="\\\r"', b";\xff", b";a=\xff", b";a,b", b";a=b,c", b";a(", b";a@b",
        b";a=b=c", b" a", b",a", b":a")},
    "LF ends an extension": b"3;a\nabc\r\n" + LAST,
    "extension of the last chunk that does not parse": b"3\r\nabc\r\n0;\r\n\r\n",
    "LF ends the extension of the last chunk": b"3\r\nabc\r\n0;a\n\r\n",
    # 7.1.2, RFC 9110 6.5
    **{f"trailer {value!r}": b"3\r\nabc\r\n0\r\n" + value + b"\r\n\r\n" for value in (
        b"X", b"X y", b": y", b"X : y", b" X: y", b"X: y\r\n z", b"X: y\nZ: z", b"X: \x00", b"X: y\r", b"X: y\rz", b"X\x00: y", b"X(: y", b"X: \x7f", b"X: \x01", b"\xc3\xa9: y",
        b"\nX: y", b"GET /smuggled HTTP/1.1")},
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_chunks_that_are_refused(site, name, bytewise):
    site.refused(CHUNKED + BAD_CHUNKS[name], [400], bytewise, "POST")


@pytest.mark.parametrize("content, status, limit", [
    (b"3;a=" + b"b" * 2000 + b"\r\nabc\r\n" + LAST, 413, "http.max_chunk_ext"),
    (b'3;a="' + b"b" * 200000, 413, "http.max_chunk_ext"),
    (b"3;" + b"a;b" * 1000 + b"\r\nabc\r\n" + LAST, 413, "http.max_chunk_ext"),
    (b"3" + b" " * 2000 + b";a\r\nabc\r\n" + LAST, 413, "http.max_chunk_ext"),
    (b"3\r\nabc\r\n0;a=" + b"b" * 2000 + b"\r\n\r\n", 413, "http.max_chunk_ext"),
    (b"".join(b"1;" + b"a" * 900 + b"\r\nx\r\n" for _ in range(1000)) + LAST, 413, "http.max_chunk_ext"),
    (b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431, "http.max_trailers"),
    (b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431, "http.max_trailers"),
    (b"0\r\n" + b"X" * 100000, 431, "http.max_trailers"),
])
def test_bounds_of_chunks(site, content, status, limit):
    before = site.shield.metric("limit_reached_total", limit=limit)
    site.refused(CHUNKED + content, [status], method="POST")
    assert site.shield.metric("limit_reached_total", limit=limit) == before + 1


GOOD = {
    "no content": (POST + b"\r\n", b"", {"Content-Length": None, "Transfer-Encoding": None}),
    "length 0": (length(b" 0", b""), b"", {"Content-Length": "0"}),
    "length -- leading zeros": (length(b" 0000000000000000000000000000000005"), b"hello", {"Content-Length": "5"}),
    "length without a space": (length(b"5"), b"hello", {"Content-Length": "5"}),
    "length in spaces": (length(b" \t 5 \t "), b"hello", {"Content-Length": "5"}),
    "length in capitals": (framed(b"CONTENT-LENGTH: 5", b"hello"), b"hello", {"Content-Length": "5"}),
    "length named in Connection": (framed(b"Connection: Content-Length\r\nContent-Length: 5", b"hello"), b"hello", {"Content-Length": "5"}),
    "content that looks like a request": (length(b" %d" % len(SMUGGLED), SMUGGLED), SMUGGLED, {}),
    "content that looks like chunks": (length(b" 5", LAST), LAST, {"Transfer-Encoding": None}),
    "chunked": (CHUNKED + chunk(b"hello") + LAST, b"hello", {"Transfer-Encoding": "chunked", "Content-Length": None}),
    "chunked without a space": (coding(b"chunked", chunk(b"hello") + LAST), b"hello", {"Transfer-Encoding": "chunked"}),
    "chunked in spaces": (coding(b" \t chunked \t ", chunk(b"hello") + LAST), b"hello", {"Transfer-Encoding": "chunked"}),
    "chunked in capitals": (coding(b" CHUNKED", chunk(b"hello") + LAST), b"hello", {"Transfer-Encoding": "chunked"}),
    "chunked named in Connection": (framed(b"Connection: Transfer-Encoding, TE\r\nTransfer-Encoding: chunked", chunk(b"hello") + LAST), b"hello",
                                    {"Transfer-Encoding": "chunked"}),
    "chunked and nothing": (CHUNKED + LAST, b"", {}),
    "chunks": (CHUNKED + chunk(b"he") + chunk(b"l") + chunk(b"lo") + LAST, b"hello", {}),
    "size in capitals": (CHUNKED + b"A\r\n0123456789\r\n" + LAST, b"0123456789", {}),
    "size in small letters": (CHUNKED + b"a\r\n0123456789\r\n" + LAST, b"0123456789", {}),
    "size with zeros": (CHUNKED + b"0000000000000003\r\nabc\r\n0000\r\n\r\n", b"abc", {}),
    "chunk that looks like a request": (CHUNKED + chunk(SMUGGLED) + LAST, SMUGGLED, {}),
    "chunk of line ends": (CHUNKED + chunk(b"\r\n0\r\n\r\n") + LAST, b"\r\n0\r\n\r\n", {}),
    **{f"extension {value!r}": (CHUNKED + b"3" + value + b"\r\nabc\r\n0" + value + b"\r\n\r\n", b"abc", {}) for value in
       (b";a", b";a=b", b';a="b"', b';a=""', b';a="b;c=\\"d\\\\"', b" ; a = b", b"\t;\ta\t=\tb", b";a;b=c;d", b';a="\xff\t"', b";a=" + b"b" * 900, b';a="0;1 "')},
    "trailers": (CHUNKED + chunk(b"abc") + b"0\r\nX-T: 1\r\nX-U:\r\n\r\n", b"abc", {"X-T": None, "X-U": None}),
    "trailers of the head": (CHUNKED + chunk(b"abc") + b"0\r\nHost: other.test\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nAuthorization: a\r\n"
                             b"Cookie: a=b\r\nConnection: close\r\nX-Forwarded-For: 1.2.3.4\r\nCache-Control: no-store\r\nCDN-Loop: x\r\nTE: x\r\n\r\n", b"abc",
                             {"Authorization": None, "Cookie": None, "Content-Length": None, "Cache-Control": None}),
    "trailers that Trailer names": (framed(b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\nTE: trailers", b"0\r\nX-T: 1\r\n\r\n"), b"",
                                    {"X-T": None, "Trailer": None, "TE": None}),
}


@pytest.mark.parametrize("name", GOOD)
def test_framing_that_is_good(site, name, bytewise):
    """And the request behind it is read from the right byte."""
    raw, body, fields = GOOD[name]
    site.passed(raw, "POST", body=body, bytewise=bytewise, more=fields)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "FOO"])
@pytest.mark.parametrize("content", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"])
def test_content_of_any_method(site, method, content):
    site.passed(f"{method} /case HTTP/1.1\r\n".encode() + HOST + content, method, body=b"hello")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_length_of_0_is_no_content(lab, method):
    """RFC 9110 section 8.6: nothing is enclosed, so it is a request like any other that reads."""
    origin = lab.origin().on("/x", cacheable("hello"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    answer = lab.ask(shield, "/x", method, Content_Length="0")
    assert answer.status == 200 and answer.cache["hit"]
    alone = lab.ask(shield, "/x", method, Content_Length="0", Authorization="a")
    assert alone.status == 200 and "Content-Length" not in origin.requests()[-1]


# what ends early

EARLY = {
    "length": length(b" 10", b"half"),
    "length, nothing of it": length(b" 10", b""),
    "within a size": CHUNKED + chunk(b"abc") + b"5",
    "behind a size": CHUNKED + chunk(b"abc") + b"5\r\n",
    "within a chunk": CHUNKED + chunk(b"abc") + b"5\r\nde",
    "behind a chunk's data": CHUNKED + b"3\r\nabc",
    "between chunks": CHUNKED + chunk(b"abc"),
    "within an extension": CHUNKED + b'3;a="b',
    "behind the last size": CHUNKED + chunk(b"abc") + b"0\r\n",
    "within the last CRLF": CHUNKED + chunk(b"abc") + b"0\r\n\r",
    "within a trailer": CHUNKED + chunk(b"abc") + b"0\r\nX-T: 1",
    "behind a trailer": CHUNKED + chunk(b"abc") + b"0\r\nX-T: 1\r\n",
    "behind another request": request_bytes("/before") + CHUNKED + chunk(b"abc"),
}


@pytest.mark.parametrize("name", EARLY)
@pytest.mark.parametrize("how", ["half-close", "close", "reset"])
def test_content_that_ends_early_is_never_whole(site, name, how, bytewise):
    """RFC 9112 section 8. The origin's connection is cut, and the next client has another."""
    client = site.send(EARLY[name], ["GET"] if name == "behind another request" else ["POST"], bytewise)
    if name == "behind another request":
        assert client.response().status == 200
        site.whole += 1
    if how == "half-close":
        client.half_close()
        answer = client.response()
        assert answer.is_cut or answer["Connection"] == "close"
        assert client.at_end()
    if how == "reset":
        client.reset()
    client.close()
    site.shield.wait_metric("origin_inflight", 0)
    site.still_serves()


def test_a_whole_upload_that_half_closes_is_answered(lab):
    """The end of the stream is seen while an origin that does not read yet holds back what stands before it."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield)
    body = b"0123456789abcdef" * 1000000
    content = b"".join(chunk(body[i:i + 1000]) for i in range(0, len(body), 1000)) + LAST

    def upload():
        client.send(CHUNKED + content, ["POST"])
        client.half_close()
    sender = threading.Thread(target=upload, daemon=True)
    sender.start()
    held = origin.expect("/case")
    assert held.read_body() == body
    sender.join()
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_content_that_ends_early_behind_a_request_that_is_still_running(lab):
    origin = lab.origin()
    shield = lab.shield(origin, sets={"client.body_timeout": "1h", "client.idle_timeout": "1h"})
    client = lab.client(shield).send(request_bytes("/first") + CHUNKED + chunk(b"abc"), ["GET", "POST"])
    held = origin.expect("/first")
    client.half_close()
    held.respond(200, body=b"first")
    assert client.response().body == b"first"
    assert client.at_end()
    shield.wait_metric("origin_inflight", 0)
    assert not any(request.content_ends() for request in origin.requests("/case"))


def test_an_answer_before_the_content_ends_the_connection(lab):
    """RFC 9112 section 9.3: content that is not read is not the next request."""
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).send(length(b" 100000", b"begin"), ["POST"])
    held = origin.expect("/case")
    held.read_body(5)
    held.send_head(413, length=2).send(b"no")
    client.send(SMUGGLED)
    answer = client.response()
    assert (answer.status, answer["Connection"]) == (413, "close") and client.at_end()
    held.wait_closed()
    assert origin.count("/smuggled") == 0
