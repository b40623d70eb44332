"""Cache poisoning: one client says something odd, and the next one, who says nothing, still gets the plain answer; or what
was meant for one client alone is nobody else's. The origin believes everything that reaches it, and calls it cacheable."""
import pytest

from http_text import request_bytes
from scripted_origin import Reply, cacheable

PLAIN = b"plain"


# fields that choose another answer

NAMES = ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port", "X-Forwarded-Prefix",
         "X-Forwarded-Server", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Forwarded"]
KIN = ["X-HTTP-Method", "X-Method-Override", "X-Original-Host", "X-Forwarded-Path", "X-Forwarded-Uri", "X-Forwarded-Ssl",
       "X-Forwarded-Protocol", "X-Host-Override", "X-HTTP-Host-Override", "X-Original-Uri", "Front-End-Https", "X-Url-Scheme",
       "X-Forwarded-By", "X-Scheme", "X-Original-Scheme", "X-Request-Uri", "X-Script-Name", "X-MS-Original-URL", "X-Envoy-Original-Path",
       "X-HTTP-Path-Override", "Host-Override", "Proxy", "X-Middleware-Subrequest", "CloudFront-Forwarded-Proto",
       "X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "Client-IP", "X-Original-Forwarded-For"]


def spellings(name):
    return [name, name.lower(), name.upper(), name.swapcase(), name.replace("-", "_"), name.replace("-", "_").upper(),
            name.replace("-", "."), name.replace("-", "_", 1), name.replace("-", "!")]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", NAMES + KIN)
def test_an_unkeyed_input_reaches_nobody(rig, name, method):
    for spelt in dict.fromkeys(spellings(name)):
        if name == "Forwarded" and spelt.lower() != "forwarded":
            continue
        for value in ("evil.test", "POST", "/evil", "host=evil.test;proto=https"):
            target = rig.credulous(rig.target())
            headers = [(spelt, value), (spelt, "again")]
            evil = rig.ask(target, method, headers=headers)
            assert evil.body in (PLAIN, b"") and evil.status == 200
            assert rig.ask(target).body == PLAIN
            (*_, request) = rig.origin.requests(target)
            assert name == "X-Forwarded-Proto" or not any("evil" in v for _, v in request.fields.lines)


@pytest.mark.parametrize("name", ["If-None-Match", "If-Modified-Since", "Accept-Encoding", "Content-Length", "Transfer-Encoding",
                                  "Cdn-Loop", "Max-Forwards", "X-Forwarded-For", "If-Range", "Content-Type", "Shield-Class-Device"])
def test_what_cgi_takes_for_a_field_of_ours_stays_here(rig, name):
    target = rig.credulous(rig.target())
    assert rig.ask(target, headers=[(name.replace("-", "_"), "evil")]).body == PLAIN


@pytest.mark.parametrize("fields", [
    {"Range": "bytes=0-0"}, {"Range": "bytes=0-0,1-1"}, {"Range": "bytes=-1"}, {"Range": "bytes=99999-"}, {"Range": "x"},
    {"Range": "bytes=1-0"}, {"If-Range": '"a"', "Range": "bytes=1-"}, {"If-None-Match": "*"}, {"If-None-Match": '"x"'},
    {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"TE": "trailers"}, {"TE": "gzip"}, {"Trailer": "X"},
    {"Upgrade": "h2c", "Connection": "Upgrade"}, {"Connection": "X-Own", "X-Own": "evil"}, {"Connection": "close"},
    {"Expect": "100-continue"}, {"Keep-Alive": "timeout=1"}, {"Proxy-Authorization": "evil"}, {"Shield-Debug": "evil"},
    {"Accept-Encoding": "evil"}, {"Accept-Encoding": "gzip;q=0, evil"}, {"Accept-Encoding": "*;q=x"}, {"Accept-Encoding": "\xff"},
    {"Proxy-Connection": "keep-alive"},
], ids=str)
def test_what_is_ours_to_judge_changes_nobodys_answer(rig, fields):
    target = rig.credulous(rig.target())
    first = rig.ask(target, **fields)
    assert first.status in (200, 206, 304, 416, 417, 412), first
    assert PLAIN.startswith(first.body) or first.status != 200
    answer = rig.ask(target)
    assert (answer.status, answer.body, answer.end) == (200, PLAIN, "clean")


@pytest.mark.parametrize("fields", [
    {"Cache-Control": "no-cache"}, {"Cache-Control": "no-store"}, {"Cache-Control": "max-age=0"}, {"Pragma": "no-cache"},
    {"Cache-Control": "only-if-cached"}, {"CDN-Cache-Control": "no-store"}, {"Surrogate-Control": "no-store"},
    {"Shield-Cache-Control": "max-age=0"}, {"Surrogate-Capability": "a=\"ESI/1.0\""}, {"Surrogate-Key": "evil"},
    {"Cache-Tag": "evil"}, {"Cache-Status": "evil; hit"}, {"Age": "99999"}, {"Date": "Mon, 01 Jan 2024 00:00:00 GMT"},
    {"Expires": "0"}, {"Vary": "*"}, {"X-Cache": "bypass"}, {"Fastly-Debug": "1"}, {"X-Purge": "1"}, {"Set-Cookie": "id=1"},
    {"ETag": '"evil"'}, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"Location": "/evil"}, {"Warning": "110"},
    {"Cache-Groups": "\"evil\""}, {"X-Accel-Expires": "0"}, {"X-Accel-Redirect": "/evil"}, {"Authorization": "Basic eDp5"},
    {"Cookie": "id=1"}, {"Max-Forwards": "0"}, {"Accept": "evil/type"}, {"User-Agent": "evil"}, {"Origin": "https://evil.test"},
], ids=str)
def test_a_request_field_does_not_touch_what_is_stored(rig, fields):
    """Who says it gets what is there; it asks the origin for nothing, and what is there stays as it is."""
    target = rig.target()
    rig.origin.on(target, cacheable(PLAIN, Access_Control_Allow_Origin="*"))
    before = rig.ask(target)
    odd = rig.ask(target, **fields)
    after = rig.ask(target)
    share = "Authorization" not in fields
    assert (odd.status, odd.body) == (200, PLAIN) and (after.status, after.body) == (200, PLAIN)
    assert after.cache["hit"] and rig.origin.count(target) == (1 if share else 2)
    drop = ("Age", "Cache-Status", "Connection")
    assert [f for f in before.fields.lines if f[0] not in drop] == [f for f in after.fields.lines if f[0] not in drop]
    assert "evil" not in str(after.fields)


# content where none belongs

@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("fields", [{}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "application/json"},
                                    {"X-HTTP-Method-Override": "POST"}])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_fat_get_is_its_own_clients_alone(rig, method, fields, chunked):
    for before in (False, True):  # whether the plain one is stored already
        target = rig.credulous(rig.target("?a=1"))
        if before:
            assert rig.ask(target).body == PLAIN
        if chunked:
            fat = rig.ask(target, method, body=b"5\r\na=bad\r\n0\r\n\r\n", Transfer_Encoding="chunked", **fields)
        else:
            fat = rig.ask(target, method, body=b"a=bad", **fields)
        assert fat.status == 200 and "stored" not in fat.cache and "hit" not in fat.cache
        assert method == "HEAD" or b"a=bad" in fat.body
        answer = rig.ask(target)
        assert (answer.status, answer.body) == (200, PLAIN)
        assert bool(answer.cache.get("hit")) == before


# errors that one client causes

FAULTS = [400, 401, 406, 407, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426, 428, 429, 431, 511]


@pytest.mark.parametrize("status, lifetime", [(status, lifetime) for status in FAULTS for lifetime in (None, "max-age=60", "public, s-maxage=60")] +
                         [(status, None) for status in (401, 403, 405, 500, 501, 502, 503, 504)])
def test_an_error_that_one_client_causes(rig, status, lifetime):
    """A field too long (HHO), with a meta character (HMC), or another that the origin takes ill: its page is no resource."""
    def touchy(request):
        if "X-Odd" in request:
            return Reply("your fault", status, **({"Cache_Control": lifetime} if lifetime else {}))
        return cacheable(PLAIN)
    for value in ("a" * 20_000, "\t\x80\xff;'\"", "POST"):
        target = rig.target()
        rig.origin.on(target, touchy)
        odd = rig.ask(target, headers=[("X-Odd", value)])
        assert (odd.status, odd.body) == (status, b"your fault")
        answer = rig.ask(target)
        assert (answer.status, answer.body) == (200, PLAIN) and "hit" not in answer.cache


@pytest.mark.parametrize("line", ["X-Odd: a\0b", "X-Odd: a\rb", "X-Odd: a\nb", "X-Odd: a\x01b", "X-Odd: a\x7fb", "X-Odd : a",
                                  "X Odd: a", " X-Odd: a", "X-Odd: a\r\n b", "X-Odd", ": a", "X\xe4: a", "Host: other.test",
                                  "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Content-Length: 1, 1",
                                  "Transfer-Encoding : chunked", "Content-Length: -1"],
                         ids=repr)
def test_a_head_that_is_not_one_reaches_nobody(rig, line):
    target = rig.credulous(rig.target())
    answer = rig.raw(f"GET {target} HTTP/1.1\r\nHost: edge.test\r\n{line}\r\n\r\n".encode("latin-1"))
    assert answer.status in (400, 501) and rig.origin.count(target) == 0
    assert rig.ask(target).body == PLAIN


# two spellings of one thing

SAME = [("http://edge.test{}", {}), ("http://EDGE.test{}", {}), ("http://edge.test:80{}", {}), ("{}", {"host": "EDGE.TEST"}),
        ("{}", {"host": "edge.test:80"}), ("{}", {"host": "Edge.Test:"}), ("http://edge.test{}", {"host": "evil.test"})]


@pytest.mark.parametrize("form, kw", SAME, ids=str)
def test_one_resource_in_several_forms(rig, form, kw):
    """RFC 9110 section 4.2.3, RFC 9112 section 3.2.2: one key, and the origin hears the host that is keyed."""
    target = rig.target()
    rig.origin.on(target, lambda request: cacheable(request.get("Host")))
    for first in (True, False):
        answer = rig.ask(form.format(target), **kw) if first else rig.ask(target)
        assert answer.body == b"edge.test"
    assert answer.cache["hit"] and rig.origin.count(target) == 1


@pytest.mark.parametrize("host", ["EDGE.test", "edge.test:80", "edge.test:"])
def test_a_method_without_a_key_hears_the_same_host(rig, host):
    """What a POST brings may be kept for GET (RFC 9110 section 9.3.3), and then it was asked with the host that is keyed."""
    target = rig.target()
    rig.origin.on(target, lambda request: cacheable(request.get("Host")))
    assert rig.ask(target, "POST", host=host, body=b"x").body == b"edge.test"


OTHERS = ["/a%2Fb", "/a%2fb", "/a/b", "/a//b", "//a/b", "/A/b", "/a/b/", "/a/./b", "/a/../a/b", "/a/b%20", "/a%5Cb", "/a\\b", "/a/b;x=1",
          "/a/b;", "/a;x/b", "/a/b?", "/a/b?x", "/a/b?x=1", "/a/b?x=1&y=2", "/a/b?y=2&x=1", "/a/b?x=1;y=2", "/a/b?X=1", "/a/b?x=1&x=2",
          "/a/b?x=2&x=1", "/a/b?x=%31", "/a/b%3Fx=1", "/a/b%23", "/a/b%00", "/a/b%0d%0aX:%20y", "/a/b?x=1&", "/a/b??x=1", "/%61/b",
          "/a/%2e%2e/b", "/a/..%2fb", "/a/..;/b", "/a/b.css", "/a/b%2ecss", "/a/b?x=1%26y=2", "/a/b%252f", "/./a/b", "/.//a/b", "/a/b..",
          "/a/b?utm_source=1", "/a/b&x=1", "/a/b~", "/%7Ea/b", "/~a/b", "/a/b|", "/a/b^", "/a/b?x=[1]", "/a/b?x={1}"]


@pytest.mark.parametrize("host", ["edge.test", "edge.test.", "edge.test:8080", "other.test", "[::1]", "127.0.0.1"])
def test_other_targets_are_other_resources(rig, host):
    """What goes upstream is what came, and it is the key: no two of these share, whatever the origin makes of them."""
    rig.origin.on_all(lambda request: cacheable(f"{request.get('Host')} {request.target}"))
    prefix = rig.target()
    for _ in range(2):
        for other in OTHERS:
            assert rig.ask(prefix + other, host=host).body == f"{host} {prefix}{other}".encode()
    assert sum(rig.origin.count(prefix + other) for other in OTHERS) == len(OTHERS)


@pytest.mark.parametrize("target", ["/x#y", "/x y", "/x\t", "/\x80", "/x\x7f", "/\x01", "x", "", "http://", "http:///x", "http://a@edge.test/x",
                                    "http://a:b@edge.test/x", "https:edge.test", "//edge.test/x#", "*", "http://edge.test:x/",
                                    "http://edge.test:99999/", "ftp://edge.test/x", "http://[::1/x"], ids=repr)
def test_a_target_that_is_not_one_reaches_nobody(rig, target):
    before = rig.origin.count()
    answer = rig.raw(f"GET {target} HTTP/1.1\r\nHost: edge.test\r\n\r\n".encode("latin-1"))
    assert answer.status in (400, 414) and rig.origin.count() == before


@pytest.mark.parametrize("host", ["a b", "a/b", "a?b", "a#b", "u@a", "a:b", "a:1:2", "a,b", "[::1", "::1]", "a\\b", "", "a\tb", "a:99999", "a\x80",
                                  "%", "<a>", "\"a\"", "a\0", "[x]", "a:-1", "a:+1", "@a"], ids=repr)
def test_a_host_that_is_not_one_reaches_nobody(rig, host):
    target = rig.credulous(rig.target())
    answer = rig.raw(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert answer.status == 400 and rig.origin.count(target) == 0
    assert rig.ask(target).body == PLAIN


# variants

@pytest.mark.parametrize("name", ["Accept", "Accept-Language", "User-Agent", "Origin", "X-Own", "Cookie", "Referer", "Accept-Encoding"])
def test_what_the_origin_varies_on_is_told_apart(rig, name):
    target = rig.target()
    rig.origin.on(target, lambda request: cacheable(request.fields.joined(name).encode("latin-1") or PLAIN, Vary=name.swapcase()))
    for value in ("evil", "evil, evil", "", "a\x80b", "x" * 3000, "gzip"):
        rig.ask(target, headers=[(name, value)])
    expected = b"identity" if name == "Accept-Encoding" else PLAIN
    assert rig.ask(target).body == expected
    assert rig.ask(target).body == expected


def test_more_variants_than_there_may_be(rig):
    """cache.max_variants: the oldest go, nobody gets another's."""
    target = rig.target()
    rig.origin.on(target, lambda request: cacheable(request.get("X-Own", "plain"), Vary="X-Own"))
    for _ in range(2):
        for n in range(80):
            assert rig.ask(target, X_Own=str(n)).body == str(n).encode()
    assert rig.ask(target).body == PLAIN
    assert rig.shield.metric("limit_reached_total", limit="cache.max_variants") > 0


@pytest.mark.parametrize("name", NAMES + KIN)
def test_a_vary_on_what_goes_no_further_makes_no_variants(rig, name):
    """Else anybody could push the real ones out with values that the origin never hears of."""
    target = rig.credulous(rig.target(), Vary=f"Accept, {name}")
    assert rig.ask(target).body == PLAIN
    for n in range(3):
        answer = rig.ask(target, headers=[(name, f"evil{n}")])
        assert answer.body == PLAIN and answer.cache["hit"]
    assert rig.origin.count(target) == 1


@pytest.mark.parametrize("vary", ["*", "X-Own, *", "Accept,*", "x y", "X-Own\\", "@", "*, X-Own", "\"X-Own\"", "X-Own;q=1"])
def test_a_vary_that_tells_nothing_shares_nothing(rig, vary):
    target = rig.target()
    rig.origin.on(target, lambda request: cacheable(request.get("X-Own", "plain"), Vary=vary))
    assert rig.ask(target, X_Own="evil").body == b"evil"
    assert rig.ask(target).body == PLAIN


# what is private

@pytest.mark.parametrize("name", ["x.css", "x.js", "x.png", "%2e%2e%2fx.css", ";x.css", "%0ax.css", "x.css?y", "x.ico", "..%2f..%2fx.js"])
@pytest.mark.parametrize("fields", [{"Cache-Control": "private"}, {"Cache-Control": "no-store"}, {"Cache-Control": "private, max-age=60"},
                                    {"Cache-Control": "max-age=60", "Set-Cookie": "id=1"}, {"Cache-Control": "no-cache"}, {}], ids=str)
def test_a_name_makes_nothing_public(rig, name, fields):
    """Web cache deception: what is stored follows from the answer, not from how the target ends."""
    target = rig.target(f"/account/{name}")
    rig.origin.on(target, lambda request: Reply(request.get("Cookie", "nobody"), headers=list(fields.items()), Content_Type="text/html"))
    assert rig.ask(target, Cookie="id=victim").body == b"id=victim"
    answer = rig.ask(target)
    assert answer.body == b"nobody" and "hit" not in answer.cache


@pytest.mark.parametrize("control, shared", [("max-age=60", False), ("public, max-age=60", True), ("s-maxage=60", True), ("private", False),
                                             ("must-revalidate, max-age=60", True)])
def test_credentials(rig, control, shared):
    """RFC 9111 section 3.5."""
    target = rig.target()
    rig.origin.on(target, lambda request: Reply(request.get("Authorization", "plain"), Cache_Control=control))
    assert rig.ask(target, Authorization="Basic secret").body == b"Basic secret"
    assert rig.ask(target).body == (b"Basic secret" if shared else PLAIN)


# what the origin says of caches

@pytest.mark.parametrize("fields", [{"Age": "99999"}, {"Age": "60"}, {"Cache-Control": "max-age=0"},
                                    {"Cache-Control": "max-age=\"x"}, {"Date": "Mon, 01 Jan 2024 00:00:00 GMT", "Via": "1.0 old"},
                                    {"CDN-Cache-Control": "no-store"}, {"Surrogate-Control": "no-store"}], ids=str)
def test_an_answer_that_is_too_old_is_not_kept(rig, fields):
    target = rig.target()
    counter = iter(range(9))
    rig.origin.on(target, lambda request: Reply(str(next(counter)), headers=list(({"Cache-Control": "max-age=60"} | fields).items())))
    assert [rig.ask(target).body for _ in range(2)] == [b"0", b"1"]


@pytest.mark.parametrize("fields", [{"Age": "-5"}, {"Age": "x"}, {"Date": "x"}, {"Date": "Fri, 01 Jan 2100 00:00:00 GMT"}, {"Age": "1, 99999"},
                                    {"Cache-Status": "evil; hit; ttl=9999"}, {"Cache-Status": "\"open"}, {"Via": "\"open"}, {"X-Cache": "HIT"},
                                    {"Server": "evil"}, {"Proxy-Status": "evil; error=x"}, {"Warning": "110 - x"}], ids=str)
def test_what_an_origin_says_of_caches_is_not_taken_for_ours(rig, fields):
    target = rig.target()
    rig.origin.on(target, cacheable(PLAIN, headers=list(fields.items())))
    first, second = rig.ask(target), rig.ask(target)
    assert first.fields.all("Cache-Status")[-1].endswith("shield; fwd=miss; stored")
    assert second.cache["hit"] and second.cache["said_by"] == "shield" and 0 <= second.cache["ttl"] <= 60
    assert second.body == PLAIN and int(second["Age"]) < 30
    for name in set(fields) & {"Cache-Status", "Via"}:
        assert second.fields.joined(name).startswith(fields[name])


@pytest.mark.parametrize("value", ["/x\r\nSet-Cookie: id=1", "/x\rSet-Cookie: id=1", "/x\nSet-Cookie: id=1", "/x\0y", "/x\r\n\r\n<html>"], ids=repr)
def test_response_splitting_ends_here(rig, value):
    """What an origin copies into a field out of a target cannot become a field, nor an answer, of its own: at worst it is 502."""
    target = rig.target("?to=%0d%0aSet-Cookie:%20id=1")
    rig.origin.on(target, lambda request: request.send(f"HTTP/1.1 302 Found\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n"
                                                       f"Location: {value}\r\n\r\n".encode()).finish())
    answer = rig.ask(target)
    if value.startswith("/x\r\n"):  # a good head with one more line; where an empty line follows, bytes behind it
        assert answer.status == 302 and answer.body == b""
    else:
        assert answer.status == 502
    other = rig.credulous(rig.target())
    assert rig.ask(other).body == PLAIN


@pytest.mark.parametrize("fields", [{"Via": "1.1 shield"}, {"Via": "1.1 evil, 1.0 x"}, {"CDN-Loop": "other"}, {"CDN-Loop": "\"open"},
                                    {"Max-Forwards": "1"}, {"CDN-Loop": "shield"}, {"X-Forwarded-For": "10.0.0.1"},
                                    {"X-Forwarded-For": "evil.test"}, {"X-Real-IP": "10.0.0.1"}], ids=str)
def test_fields_of_the_path_are_in_no_answer(rig, fields):
    target = rig.target()
    rig.origin.on(target, cacheable(PLAIN))
    for kw in (fields, {}):
        answer = rig.ask(target, **kw)
        assert (answer.status, answer.body) == (200, PLAIN)
        assert "evil" not in str(answer.fields)
    assert answer.cache["hit"]


def test_a_debug_field_without_a_token_tells_nothing(rig):
    target = rig.credulous(rig.target())
    plain, odd = rig.ask(target), rig.ask(target, Shield_Debug="guess")
    assert {n for n, _ in odd.fields.lines} - {n for n, _ in plain.fields.lines} <= {"Age"}


@pytest.mark.parametrize("method", ["PURGE", "BAN", "TRACE", "CONNECT", "get", "GETT", "DEBUG", "PRI", "X"])
def test_other_methods_do_not_poison_a_get(rig, method):
    target = rig.target()
    rig.origin.on(target, lambda request: cacheable(PLAIN if request.method == "GET" else request.method))
    raw = request_bytes("edge.test:80" if method == "CONNECT" else target, method, host="edge.test")
    rig.raw(raw, "GET")
    assert rig.ask(target).body == PLAIN


@pytest.mark.parametrize("headers", [[("Content-Location", "/{}")], [("Content-Location", "http://edge.test/{}")]], ids=str)
def test_a_post_cannot_fill_another_target(rig, headers):
    """RFC 9110 section 9.3.3: its answer may stand for a GET of its own target only."""
    victim = rig.credulous(rig.target())
    poster = rig.target()
    rig.origin.on(poster, cacheable(b"evil", headers=[(n, v.format(victim[1:])) for n, v in headers]))
    rig.ask(poster, "POST", body=b"x")
    assert rig.ask(victim).body == PLAIN


def test_a_redirect_of_one_client_is_his_own(rig):
    """An origin that builds its redirect out of what nobody keys: it never hears it."""
    for name in NAMES[:7]:
        target = rig.target()
        rig.origin.on(target, lambda request: Reply("", 301, Location=f"//{request.get(name, 'edge.test')}/", Cache_Control="max-age=60"))
        assert rig.ask(target, headers=[(name, "evil.test")])["Location"] in ("//edge.test/", "//http/")
        assert "evil" not in rig.ask(target)["Location"]
