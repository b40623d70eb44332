"""RFC 9110, section by section: what a proxy and a cache must do on the wire, where no other file has it already.
Interim responses (15.2) are in test_interim.py, ranges (14) in test_ranges*.py."""
import pytest

from http_text import chunk, request_bytes
from scripted_origin import Reply, cacheable

FRESH = {"Cache-Control": "max-age=60"}
ETAG = '"v1"'
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
LATER = "Tue, 02 Jan 2024 00:00:00 GMT"


def stored(lab, answer, target="/x"):
    """A shield that has `answer` for `target`, and its origin."""
    origin = lab.origin().on(target, answer)
    shield = lab.shield(origin)
    lab.ask(shield, target)
    return origin, shield


# 5.3: lines of one field keep their order

def test_5_3_field_lines_keep_their_order_both_ways(lab):
    lines = [("X-A", "1"), ("Link", "</a>"), ("X-A", "2"), ("Link", "</b>"), ("X-A", "3, 4")]
    origin, shield = stored(lab, cacheable("x", headers=lines))
    for method in ("GET", "HEAD", "POST"):
        answer = lab.ask(shield, "/x", method, headers=[("X-B", "1"), ("X-C", ""), ("X-B", "2")])
        assert answer.fields.all("X-A") == ["1", "2", "3, 4"] and answer.fields.all("Link") == ["</a>", "</b>"]
    assert origin.requests(method="POST")[0].fields.all("X-B") == ["1", "2"]


def test_5_3_field_lines_keep_their_order_in_a_304(lab):
    origin, shield = stored(lab, cacheable("x", seconds=0, ETag=ETAG, headers=[("X-A", "1"), ("X-B", "old"), ("X-A", "2")]))
    origin.on("/x", Reply(status=304, ETag=ETAG, headers=[("X-B", "n1"), ("X-C", "c"), ("X-B", "n2")]))
    fields = lab.ask(shield, "/x").fields
    assert (fields.all("X-A"), fields.all("X-B"), fields.all("X-C")) == (["1", "2"], ["n1", "n2"], ["c"])


# 6.5: trailers are dropped, never merged into the head

def test_6_5_1_trailers_of_a_request_end_here(lab):
    origin = lab.origin()
    client = lab.client(lab.shield(origin))
    client.send(request_bytes("/x", "POST", Transfer_Encoding="chunked", Trailer="X-T") + chunk(b"abc")
                + b"0\r\nX-T: 1\r\nAuthorization: a\r\n\r\n", ["POST"])
    held = origin.expect("/x")
    assert held.read_body() == b"abc"
    assert not any(name in held for name in ("Trailer", "X-T", "Authorization"))
    held.respond(200, body=b"ok")
    assert client.response().body == b"ok"


def test_6_5_1_trailers_of_an_answer_are_in_no_head(lab):
    origin = lab.origin()
    shield = lab.shield(origin)
    client = lab.client(shield).request("/x", TE="trailers", Connection="TE")
    held = origin.expect("/x")
    assert "TE" not in held
    held.send_head(200, {**FRESH, "Trailer": "X-T, Set-Cookie"}, chunked=True).chunk(b"abc")
    held.send(b"0\r\nX-T: 1\r\nSet-Cookie: a=b\r\n\r\n").finish()
    for answer in (client.response(), lab.ask(shield, "/x")):
        assert answer.body == b"abc"
        assert not any(name in answer.fields for name in ("Trailer", "X-T", "Set-Cookie"))


# 6.6.1: Date

@pytest.mark.parametrize("method, status", [("GET", 200), ("GET", 404), ("GET", 302), ("HEAD", 200), ("POST", 201),
                                            ("GET", 500), ("DELETE", 204)])
def test_6_6_1_a_date_is_added_where_there_is_none(lab, method, status):
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x", method)
    origin.expect("/x").respond(status, FRESH, b"", date=False)
    answer = client.response()
    assert answer.status == status and answer["Date"].endswith(" GMT")


# 7.6.1: Connection

NAMED = [("Connection", "x-one, , KEEP-ALIVE"), ("X-One", "1"), ("connection", "X-Two"), ("x-two", "2"),
         ("X-Two", "3"), ("X-Three", "4"), ("Keep-Alive", "5"), ("Proxy-Connection", "6"), ("Upgrade", "7")]
HOP = ("Connection", "X-One", "X-Two", "Keep-Alive", "Proxy-Connection", "Upgrade", "TE", "Transfer-Encoding")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_7_6_1_what_connection_names_goes_no_further(lab, method):
    origin = lab.origin().on("/x", cacheable("x", headers=NAMED))
    answer = lab.ask(lab.shield(origin), "/x", method, headers=NAMED)
    assert answer["X-Three"] == "4" and not any(name in answer.fields for name in HOP)
    (request,) = origin.requests()
    assert request.get("X-Three") == "4" and not any(name in request for name in HOP)


def test_7_6_1_what_a_304_names_is_not_stored(lab):
    origin, shield = stored(lab, cacheable("x", seconds=0, ETag=ETAG, X_One="kept"))
    origin.on("/x", Reply(status=304, ETag=ETAG, headers=NAMED))
    for _ in range(2):
        answer = lab.ask(shield, "/x")
        assert answer["X-One"] == "kept" and answer["X-Three"] == "4"
        assert not any(name in answer.fields for name in HOP if name != "X-One")


# 7.6.2: Max-Forwards

@pytest.mark.parametrize("target", ["/x", "*"])
def test_7_6_2_options_that_may_not_go_further_is_answered_here(lab, target):
    origin = lab.origin()
    client = lab.client(lab.shield(origin))
    for _ in range(2):
        answer = client.ask(target, "OPTIONS", Max_Forwards="0")
        assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "0")
        assert {"GET", "HEAD", "POST", "OPTIONS"} <= set(answer["Allow"].split(", "))
    assert origin.count() == 0


@pytest.mark.parametrize("method, came, goes", [("OPTIONS", "1", "0"), ("OPTIONS", "10", "9"), ("OPTIONS", "007", "6"),
                                                ("OPTIONS", None, None), ("POST", "5", "5")])
def test_7_6_2_it_is_counted_down(lab, method, came, goes):
    origin = lab.origin().on("/x", Reply("ok"))
    fields = {"Max_Forwards": came} if came else {}
    assert lab.ask(lab.shield(origin), "/x", method, **fields).status == 200
    assert origin.requests()[0].get("Max-Forwards") == goes


def test_7_6_2_a_number_that_is_too_large_becomes_ours(lab):
    origin = lab.origin().on("/x", Reply("ok"))
    lab.ask(lab.shield(origin), "/x", "OPTIONS", Max_Forwards="9" * 30)
    assert 0 < int(origin.requests()[0].get("Max-Forwards")) < 10**29


@pytest.mark.parametrize("left", ["0", "5"])
def test_7_6_2_trace_goes_no_further(lab, left):
    """9.3.8: what a TRACE would reflect may be private; refused."""
    origin = lab.origin()
    answer = lab.ask(lab.shield(origin), "/x", "TRACE", Max_Forwards=left)
    assert answer.status == 405 and "TRACE" not in answer["Allow"] and origin.count() == 0


# 7.6.3: Via

@pytest.mark.parametrize("method, asked, status", [("GET", {}, 200), ("HEAD", {}, 200), ("GET", {"If_None_Match": ETAG}, 304),
                                                   ("GET", {"Range": "bytes=0-0"}, 206), ("GET", {"Range": "bytes=9-"}, 416)])
def test_7_6_3_via_of_what_is_stored(lab, method, asked, status):
    _, shield = stored(lab, cacheable("abc", ETag=ETAG, headers=[("Via", "1.0 a, 1.1 b"), ("Via", "2 c (d)")]))
    answer = lab.ask(shield, "/x", method, **asked)
    assert answer.status == status
    assert answer.fields.joined("Via") == ("1.1 shield" if status == 416 else "1.0 a, 1.1 b, 2 c (d), 1.1 shield")


@pytest.mark.parametrize("status", [200, 304, 404, 500])
def test_7_6_3_via_of_what_is_passed_through(lab, status):
    origin = lab.origin().on("/x", Reply(status=status, Via="1.1 a"))
    answer = lab.ask(lab.shield(origin), "/x", Authorization="a", If_None_Match=ETAG, headers=[("Via", "1.0 e"), ("Via", "2 f")])
    assert answer.status == status and answer.fields.joined("Via") == "1.1 a, 1.1 shield"
    assert origin.requests()[0].fields.joined("Via") == "1.0 e, 2 f, 1.1 shield"


def test_7_6_3_the_version_is_that_of_who_sent_it(lab):
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x", version="1.0")
    held = origin.expect("/x")
    assert held.get("Via") == "1.0 shield" and held.version == "HTTP/1.1"
    held.send(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx").close()
    assert client.response()["Via"] == "1.0 shield"


# 7.7: the target goes on as it came

@pytest.mark.parametrize("target", ["/a/%7euser//./../b?x=%20&&y#"[:-1], "/?", "/%2F?q=/?", "/;a=b,c", "/a?b=%c3%a4"])
def test_7_7_path_and_query_are_not_touched(lab, target):
    origin = lab.origin().on_all(cacheable("x"))
    assert lab.ask(lab.shield(origin), target).body == b"x"
    assert origin.requests()[0].target == target


# 8.6: Content-Length

@pytest.mark.parametrize("status, asked", [(204, {}), (304, {"If_None_Match": ETAG, "Authorization": "a"})])
def test_8_6_no_length_where_there_is_no_content(lab, status, asked):
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x", **asked)
    origin.expect("/x").send(f"HTTP/1.1 {status} Said\r\nETag: {ETAG}\r\nContent-Length: 5\r\n\r\n".encode()).finish()
    answer = client.response()
    assert answer.status == status and "Content-Length" not in answer.fields and "Transfer-Encoding" not in answer.fields


@pytest.mark.parametrize("lengths, status", [(["3", "3"], (200, 502)), (["3, 3"], (200, 502)), (["3", "4"], (502,)), (["3, 4"], (502,)),
                                             (["+3"], (502,)), (["0x3"], (502,)), ([""], (502,)), (["3 "], (200,)), (["9" * 30], (502,))])
def test_8_6_only_one_good_length_is_passed_on(lab, lengths, status):
    origin = lab.origin()
    client = lab.client(lab.shield(origin)).request("/x")
    lines = "".join(f"Content-Length: {value}\r\n" for value in lengths)
    origin.expect("/x").send(f"HTTP/1.1 200 OK\r\n{lines}\r\nabc".encode()).finish()
    answer = client.response()
    assert answer.status in status
    assert answer.status == 502 or (answer["Content-Length"], answer.body) == ("3", b"abc")


# 9.3.2: HEAD

@pytest.mark.parametrize("chunked", [False, True])
def test_9_3_2_head_has_the_fields_of_get(lab, chunked):
    _, shield = stored(lab, cacheable("abc", chunked=chunked, ETag=ETAG, Last_Modified=MODIFIED, Content_Type="text/x", Vary="X-V",
                                      Content_Language="en", Expires=LATER, Link="</a>"))
    client = lab.client(shield)
    get, head = client.ask("/x"), client.ask("/x", "HEAD")
    assert head.body == b"" and get.cache["hit"] and head.cache["hit"]
    ours = ("Age", "Cache-Status")
    assert [line for line in head.fields.lines if line[0] not in ours] == [line for line in get.fields.lines if line[0] not in ours]


# 10.1.1: Expect

@pytest.mark.parametrize("method, version, fields", [("POST", "1.0", {"Content_Length": "2"}), ("GET", "1.1", {}),
                                                     ("POST", "1.1", {"Content_Length": "0"})])
def test_10_1_1_no_100_to_1_0_nor_without_content(lab, method, version, fields):
    origin = lab.origin()
    client = lab.client(lab.shield(origin))
    client.send(request_bytes("/x", method, version=version, Expect="100-Continue", **fields), [method])
    client.send(b"hi" if version == "1.0" else b"")
    held = origin.expect("/x")
    assert held.read_body() == (b"hi" if version == "1.0" else b"")
    held.respond(200, body=b"ok")
    answer = client.response()
    assert answer.body == b"ok" and answer.interim == []


def test_10_1_1_a_request_that_is_refused_is_told_so_at_once(lab):
    """A final status that the head alone decides; its content is never asked for."""
    origin = lab.origin().on_all(cacheable("x"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    ours = origin.requests()[0].get("CDN-Loop")
    client = lab.client(shield)
    client.send(request_bytes("/up", "POST", Content_Length="5", Expect="100-continue", CDN_Loop=ours), ["POST"])
    answer = client.response()
    assert answer.status == 508 and answer.interim == [] and answer["Connection"] == "close"


# 11: authentication

def test_11_6_credentials_and_challenges_are_not_touched(lab):
    challenges = ['Basic realm="a, b"', 'Digest realm="x", nonce="y", Newauth p="q"']
    origin = lab.origin().on("/x", Reply("no", status=401, Authentication_Info='nextnonce="z"',
                                         headers=[("WWW-Authenticate", value) for value in challenges]))
    answer = lab.ask(lab.shield(origin), "/x", Authorization='Digest username="u",  realm="x"', Proxy_Authorization="Basic me")
    assert (answer.status, answer.fields.all("WWW-Authenticate")) == (401, challenges)
    assert answer["Authentication-Info"] == 'nextnonce="z"'
    (request,) = origin.requests()
    assert request.get("Authorization") == 'Digest username="u",  realm="x"'
    assert "Proxy-Authorization" not in request  # 11.7.2: for the next proxy alone, and that is us


# 13: conditions, in their order of precedence (13.2.2); more of the client's side is in test_validation.py

@pytest.mark.parametrize("asked, status", [
    ({"If_None_Match": "v1", "If_Modified_Since": LATER}, 200),                # no entity-tag, but If-Modified-Since is out
    ({"If_None_Match": f'"a,b" , W/{ETAG}'}, 304),                             # 8.8.3.2: weak comparison, in a list
    ({"If_Modified_Since": "Tuesday, 02-Jan-24 00:00:00 GMT"}, 304),           # 5.6.7: the obsolete forms are dates
    ({"If_Modified_Since": "Tue Jan  2 00:00:00 2024"}, 304),
    ({"If_Modified_Since": "2024-01-02T00:00:00Z"}, 200),                      # 13.1.3: what is no date is ignored
    ({"If_Modified_Since": "Tue, 02 Jan 2024 00:00:00 +0000"}, 200),
    ({"If_Modified_Since": f"{LATER}, {LATER}"}, 200),
    ({"If_None_Match": '"v2"', "Range": "bytes=0-0"}, 206),                    # 14.2: conditions first, then the range
    ({"If_None_Match": ETAG, "Range": "bytes=0-0", "If_Range": ETAG}, 304),
    ({"If_Modified_Since": LATER, "Range": "bytes=9-"}, 304),
    ({"If_Range": '"v2"'}, 200),                                               # 13.1.5: without Range it says nothing
    ({"Range": "bytes=0-0", "If_Range": "W/" + ETAG}, 200),                    # strong comparison only
    ({"Range": "bytes=0-0", "If_Range": ETAG}, 206),
    ({"Range": "lines=0-0"}, 200),                                             # 14.2: a unit that is not known
])
def test_13_2_2_conditions_on_what_is_stored(lab, asked, status):
    origin, shield = stored(lab, cacheable("abc", ETag=ETAG, Last_Modified=MODIFIED))
    answer = lab.ask(shield, "/x", **asked)
    assert answer.status == status and answer.cache["hit"] and origin.count() == 1


def test_13_1_2_several_lines_are_one_list(lab):
    _, shield = stored(lab, cacheable("abc", ETag=ETAG))
    assert lab.ask(shield, "/x", headers=[("If-None-Match", '"a"'), ("If-None-Match", ETAG)]).status == 304


@pytest.mark.parametrize("asked", [{"If_None_Match": "*"}, {"If_None_Match": ETAG}, {"If_Modified_Since": LATER}])
def test_13_2_1_conditions_do_not_touch_what_is_no_2xx(lab, asked):
    origin, shield = stored(lab, Reply("gone", status=410, ETag=ETAG, Last_Modified=MODIFIED, **{"Cache_Control": "max-age=60"}))
    answer = lab.ask(shield, "/x", **asked)
    assert (answer.status, answer.body) == (410, b"gone")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "FOO"])
def test_13_2_1_conditions_of_other_methods_are_the_origins_to_judge(lab, method):
    """And so are Range and If-Range (14.2); a 412 comes back as it is."""
    asked = {"If-Match": '"a"', "If-None-Match": "*", "If-Modified-Since": MODIFIED, "If-Unmodified-Since": LATER,
             "If-Range": ETAG, "Range": "bytes=0-0"}
    origin, shield = stored(lab, cacheable("abc", ETag=ETAG, Last_Modified=MODIFIED))
    origin.on("/x", Reply("no", status=412))
    answer = lab.ask(shield, "/x", method, headers=list(asked.items()))
    assert (answer.status, answer.body) == (412, b"no")
    request = origin.requests()[-1]
    assert {name: request.get(name) for name in asked} == asked
    assert lab.ask(shield, "/x").cache["hit"]  # RFC 9111 section 4.4: an error changes nothing


@pytest.mark.parametrize("seconds", [60, 0])
@pytest.mark.parametrize("name, value", [("If-Match", f'"a", {ETAG}'), ("If-Match", "*"), ("If-Unmodified-Since", LATER)])
def test_13_2_2_if_match_goes_first_and_is_the_origins(lab, name, value, seconds):
    """Steps 1 and 2 are for the origin alone: with all that the client asked, and nothing of ours."""
    asked = {name: value, "If-None-Match": '"mine"', "Range": "bytes=0-0", "If-Range": '"mine"'}
    origin, shield = stored(lab, cacheable("abc", seconds=seconds, ETag=ETAG, Last_Modified=MODIFIED))
    origin.hold("/x")
    for status in (412, 304):
        client = lab.client(shield).request("/x", headers=list(asked.items()))
        held = origin.expect("/x")
        assert {name: held.get(name) for name in asked} == asked and "If-Modified-Since" not in held
        held.respond(status, {"ETag": '"mine"'})
        assert client.response().status == status


def test_13_1_2_any_on_a_miss(lab):
    """If-None-Match: * is held against what comes; the fetch that others may share has no condition."""
    origin = lab.origin().on("/x", cacheable("abc", ETag=ETAG))
    assert lab.ask(lab.shield(origin), "/x", If_None_Match="*").status == 304
    assert "If-None-Match" not in origin.requests()[0]


@pytest.mark.parametrize("fields, asked, absent", [
    ({"ETag": ETAG, "Last_Modified": MODIFIED}, {"If-None-Match": ETAG, "If-Modified-Since": MODIFIED}, ()),
    ({"ETag": "W/" + ETAG}, {"If-None-Match": "W/" + ETAG}, ("If-Modified-Since",)),
    ({"Last_Modified": MODIFIED}, {"If-Modified-Since": MODIFIED}, ("If-None-Match",)),
    ({"ETag": "v1"}, {}, ("If-None-Match", "If-Modified-Since")),              # 8.8.3: no entity-tag, never sent as one
])
def test_13_1_conditions_of_ours_towards_the_origin(lab, fields, asked, absent):
    origin, shield = stored(lab, cacheable("abc", seconds=0, **fields))
    lab.ask(shield, "/x")
    request = origin.requests()[-1]
    assert origin.count() == 2 and {name: request.get(name) for name in asked} == asked
    assert not any(name in request for name in (*absent, "If-Match", "If-Unmodified-Since", "If-Range"))


# 14.3, 15.5.17: ranges

def test_14_3_accept_ranges_is_the_origins(lab):
    _, shield = stored(lab, cacheable("abc", Accept_Ranges="bytes"))
    for asked in ({}, {"Range": "bytes=0-0"}):
        assert lab.ask(shield, "/x", **asked)["Accept-Ranges"] == "bytes"


def test_15_5_17_a_416_tells_the_length(lab):
    _, shield = stored(lab, cacheable("abc", ETag=ETAG, Content_Type="text/x", Content_Encoding="x"))
    answer = lab.ask(shield, "/x", Range="bytes=3-")
    assert (answer.status, answer["Content-Range"], answer.body) == (416, "bytes */3", b"")
    assert not any(name in answer.fields for name in ("ETag", "Content-Type", "Content-Encoding"))


# 15.4.5: 304

GUIDES = {"Cache-Control": "max-age=60", "Content-Location": "/y", "ETag": ETAG, "Expires": LATER, "Vary": "X-V",
          "Date": "Wed, 03 Jan 2024 00:00:00 GMT", "Last-Modified": MODIFIED}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("on_a_hit", [True, False])
def test_15_4_5_what_a_304_carries(lab, method, on_a_hit):
    """All that guides a cache, and nothing else that describes what it has already."""
    whole = Reply("abc", headers=[*GUIDES.items(), ("Content-Type", "text/x"), ("Content-Language", "en"), ("X-A", "1")])
    whole.fields = [(n, "max-age=1000000000" if n == "Cache-Control" else v) for n, v in whole.fields]
    origin = lab.origin().on("/x", whole)
    shield = lab.shield(origin)
    if on_a_hit:
        lab.ask(shield, "/x")
    answer = lab.ask(shield, "/x", method, If_None_Match=ETAG)
    assert answer.status == 304 and answer.body == b""
    for name, value in GUIDES.items():
        assert answer[name] == ("max-age=1000000000" if name == "Cache-Control" else value)
    assert answer["X-A"] == "1" and "Via" in answer.fields
    for name in ("Content-Type", "Content-Language", "Content-Length", "Transfer-Encoding"):
        assert name not in answer.fields


def test_15_4_5_a_304_of_the_origin_goes_on_to_who_asked(lab):
    origin = lab.origin().on("/x", Reply(status=304, ETag=ETAG, Cache_Control="private", Vary="X-V", Expires=LATER))
    answer = lab.ask(lab.shield(origin), "/x", Authorization="a", If_None_Match=ETAG)
    assert answer.status == 304 and "Content-Length" not in answer.fields
    assert (answer["ETag"], answer["Cache-Control"], answer["Vary"], answer["Expires"]) == (ETAG, "private", "X-V", LATER)
