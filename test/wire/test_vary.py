"""Variants of one URL: never the wrong one, and one fetch for each."""
import time

import pytest

from patience import LIFE_S, outlive

from scripted_origin import Reply


def by_language(request):
    return Reply(request.get("Accept-Language", "none"), Cache_Control="max-age=60", Vary="Accept-Language")


def test_variants_are_kept_apart(lab):
    origin = lab.origin().on("/x", by_language)
    shield = lab.shield(origin)
    for _ in range(2):
        for language in ("en", "de", "fr"):
            assert lab.ask(shield, "/x", Accept_Language=language).body == language.encode()
        assert lab.ask(shield, "/x").body == b"none"
    assert origin.count() == 4
    assert lab.ask(shield, "/x", Accept_Language="de").cache["hit"]


def test_absent_differs_from_empty(lab):
    origin = lab.origin().on("/x", lambda r: Reply("absent" if "X-Which" not in r else "empty",
                                                   Cache_Control="max-age=60", Vary="X-Which"))
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x").body == b"absent"
    assert lab.ask(shield, "/x", headers=[("X-Which", "")]).body == b"empty"


@pytest.mark.parametrize("workers", [1, 2])
def test_waiters_of_another_variant_go_to_its_flight(lab, workers):
    origin = lab.origin()
    shield = lab.shield(origin, workers=workers)
    first = lab.client(shield).request("/x", Accept_Language="en")
    english = origin.expect("/x")
    more_english = lab.crowd(shield, 10).get("/x", Accept_Language="en")
    germans = lab.crowd(shield, 10).get("/x", Accept_Language="de")
    shield.wait_metric("collapsed_requests_total", 20)
    vary = {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}
    english.send_head(200, vary, length=8).send(b"eng")
    german = origin.expect("/x")
    assert german.get("Accept-Language") == "de"
    german.respond(200, vary, b"deutsch")
    assert {a.body for a in germans.responses()} == {b"deutsch"}
    english.send(b"lisch").finish()
    assert {a.body for a in more_english.responses() + [first.response()]} == {b"englisch"}
    assert origin.count() == 2
    shield.wait_metric("waiter_fates_total", 10, fate="varied")
    for language, body in (("en", b"englisch"), ("de", b"deutsch")):
        answer = lab.ask(shield, "/x", Accept_Language=language)
        assert answer.body == body and answer.cache["hit"]


def test_known_variants_fly_at_the_same_time(lab):
    origin = lab.origin().on("/x", by_language)
    shield = lab.shield(origin)
    lab.ask(shield, "/x", Accept_Language="en")
    origin.hold("/x")
    crowds = {language: lab.crowd(shield, 5).get("/x", Accept_Language=language) for language in ("de", "fr")}
    held = [origin.expect("/x"), origin.expect("/x")]
    shield.wait_metric("collapsed_requests_total", 8)
    shield.wait_metric("flights", 2)
    for request in held:
        request.reply(by_language(request))
    for language, crowd in crowds.items():
        assert {a.body for a in crowd.responses()} == {language.encode()}
    assert origin.count() == 3


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("life_s", [60, LIFE_S])
def test_what_a_key_varies_on_is_known_after_a_restart(lab, tmp_path, workers, life_s):
    """Nobody waits for another variant: not for a new one, nor for one on disk that has to be validated."""
    origin = lab.origin()
    shield = lab.shield(origin, store=tmp_path / "store")
    first = lab.client(shield).request("/x", Accept_Language="en")
    vary = {"Cache-Control": f"max-age={life_s}", "Vary": "Accept-Language", "ETag": '"en"'}
    origin.expect("/x").respond(200, vary, b"en")
    assert first.response().body == b"en"
    stored_at = time.time()
    shield.wait_stored()
    shield.kill()
    languages = ["de", "fr"] if life_s == 60 else ["en", "de", "fr"]
    outlive(stored_at, LIFE_S)
    shield = lab.shield(origin, store=tmp_path / "store", workers=workers)
    crowds = {language: lab.crowd(shield, 20).get("/x", Accept_Language=language) for language in languages}
    held = [origin.expect("/x") for _ in languages]
    assert sorted(request.get("Accept-Language") for request in held) == sorted(languages)
    for request in held:
        assert request.get("If-None-Match") == ('"en"' if request.get("Accept-Language") == "en" else None)
        request.respond(200, vary, request.get("Accept-Language").encode())
    for language, crowd in crowds.items():
        assert {a.body for a in crowd.responses()} == {language.encode()}
    assert origin.count() == 1 + len(languages)


@pytest.mark.parametrize("asked, sent", [
    ("gzip, deflate, br", "br, gzip"),
    ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br, gzip"),
    ("gzip", "gzip"),
    ("gzip;q=0, br", "br"),
    ("GZIP", "gzip"),
])
def test_accept_encoding_goes_upstream_in_normal_form(lab, asked, sent):
    origin = lab.origin().on_all(Reply("x", Cache_Control="max-age=60", Vary="Accept-Encoding"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x", Accept_Encoding=asked)
    assert origin.requests()[0].get("Accept-Encoding") == sent


def test_spellings_of_accept_encoding_share_a_variant(lab):
    origin = lab.origin().on("/x", Reply("packed", Cache_Control="max-age=60", Content_Encoding="gzip"))
    shield = lab.shield(origin)
    lab.ask(shield, "/x", Accept_Encoding="gzip, deflate, br")
    assert lab.ask(shield, "/x", Accept_Encoding="br;q=1.0,gzip").cache["hit"]
    assert origin.count() == 1


def test_a_coded_answer_never_goes_to_who_did_not_ask_for_it(lab):
    """Content-Encoding without Vary counts as varying on Accept-Encoding."""
    def answer(request):
        if "gzip" in request.get("Accept-Encoding", ""):
            return Reply("packed", Cache_Control="max-age=60", Content_Encoding="gzip")
        return Reply("plain", Cache_Control="max-age=60")
    origin = lab.origin().on("/x", answer)
    shield = lab.shield(origin)
    assert lab.ask(shield, "/x", Accept_Encoding="gzip").body == b"packed"
    for asked in ({}, {"Accept_Encoding": "identity"}, {"Accept_Encoding": "gzip;q=0"}):
        answer = lab.ask(shield, "/x", **asked)
        assert answer.body == b"plain" and "Content-Encoding" not in answer.fields


def test_vary_of_several_lines_and_odd_case(lab):
    origin = lab.origin().on("/x", lambda r: Reply(r.get("X-A", "") + r.get("X-B", ""), Cache_Control="max-age=60",
                                                   headers=[("Vary", "x-a"), ("vary", "X-B")]))
    shield = lab.shield(origin)
    for a, b in (("1", "1"), ("1", "2"), ("2", "1")):
        assert lab.ask(shield, "/x", X_A=a, X_B=b).body == (a + b).encode()
    assert origin.count() == 3


def test_a_variant_is_validated_by_itself(lab):
    def answer(request):
        language = request.get("Accept-Language")
        fields = {"Cache-Control": "no-cache", "Vary": "Accept-Language", "ETag": f'"{language}"'}
        if request.get("If-None-Match") == f'"{language}"':
            return Reply(status=304, headers=fields.items())
        assert "If-None-Match" not in request, f"{language} asked for {request.get('If-None-Match')}"
        return Reply(language, headers=fields.items())
    origin = lab.origin().on("/x", answer)
    shield = lab.shield(origin)
    for _ in range(2):
        for language in ("en", "de"):
            answer = lab.ask(shield, "/x", Accept_Language=language)
            assert (answer.status, answer.body) == (200, language.encode())
    assert origin.count() == 4


def test_languages_in_normal_form(lab):
    origin = lab.origin().on("/x", lambda r: Reply(r.get("Accept-Language", "none"), Cache_Control="max-age=60",
                                                   Vary="Accept-Language"))
    shield = lab.shield(origin, sets={"cache.normalise_language": "on"})
    for asked in ("DE-at, de;q=0.9,en;q=0.50", "en;q=0.5, de-AT,fr;q=0, de;q=0.900"):
        assert lab.ask(shield, "/x", Accept_Language=asked).body == b"de-at, de;q=0.9, en;q=0.5"
    assert origin.count() == 1
    for asked in ("de, en", "en, de"):
        assert lab.ask(shield, "/x", Accept_Language=asked).body == asked.encode()
    assert lab.ask(shield, "/x").body == b"none"
    assert origin.count() == 4
