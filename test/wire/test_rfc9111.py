"""What RFC 9111 demands that the other files do not ask: each test names its section."""
import time
from email.utils import formatdate

import pytest

from patience import LIFE_S, outlive
from scripted_origin import Reply, cacheable

ETAG = '"v1"'


def date(offset_s):
    return formatdate(time.time() + offset_s, usegmt=True)


def test_what_connection_names_selects_no_variant(lab):
    """Sections 3.1 and 4.1 with RFC 9110 7.6.1: the origin has not seen the field, so the answer is not for those who send
    it."""
    origin = lab.origin().on("/x", lambda r: Reply(r.get("X-A", "none"), Cache_Control="max-age=60", Vary="X-A"))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x", X_A="1", Connection="X-A").body == b"none"
    assert lab.ask(shield, "/x", X_A="1").body == b"1"
    assert lab.ask(shield, "/x").body == b"none"
    assert origin.count() == 2


def test_a_304_without_date_does_not_revive_an_expires(lab):
    """Section 4.2.1 with RFC 9110 6.6.1: Expires is a moment, and a 304 that leaves out Date does not move it."""
    origin = lab.origin().on("/x", Reply("x", ETag=ETAG, Expires=date(LIFE_S), Date=date(0)))
    shield = lab.shield(origin)
    lab.ask(shield, "/x")
    stored_at = time.time()
    origin.hold("/x")
    outlive(stored_at, LIFE_S + 1)
    for _ in range(2):
        client = lab.client(shield)
        client.request("/x")
        held = origin.expect("/x")
        assert held.get("If-None-Match") == ETAG
        held.respond(304, {"ETag": ETAG}, date=False)
        assert client.response().body == b"x"


def test_a_304_updates_what_is_stored(lab):
    """Section 3.2: Content- in a name means nothing, but the body stays coded as it is."""
    origin = lab.origin().on("/x", Reply("x", Cache_Control="no-cache", ETag=ETAG, Content_Type="text/a", X_Kept="1",
                                         Content_Language="en", Vary="Accept-Encoding", Content_Encoding="gzip"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x", Accept_Encoding="gzip")
    origin.on("/x", Reply(status=304, ETag=ETAG, Content_Type="text/b", Content_Language="de", Content_Encoding="br",
                          Connection="X-Hop", X_Hop="1", Cache_Control="max-age=60"))
    for _ in range(2):
        answer = lab.ask(shield, "/x", Accept_Encoding="gzip")
        assert (answer["Content-Type"], answer["Content-Language"], answer["X-Kept"]) == ("text/b", "de", "1")
        assert answer["Content-Encoding"] == "gzip" and "X-Hop" not in answer.fields
    assert answer.cache["hit"] and origin.count() == 2
