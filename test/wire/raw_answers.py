"""Pieces of answers, byte by byte, for tables."""
import pytest

OK = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
FOUR = b"Content-Length: 4\r\n\r\nbody"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
EVIL = OK + b"Content-Length: 4\r\n\r\nevil"


def head(line=b"HTTP/1.1 200 OK", *fields):
    return b"\r\n".join([line, b"Cache-Control: max-age=60", *fields, b"Content-Length: 4", b"", b"body"])


def named(cases):
    """Parameters with the bytes as their names."""
    def name(case):
        raw = case if isinstance(case, bytes) else case[0]
        return raw[:70].decode("latin-1").replace("\r\n", "|").encode("unicode_escape").decode()
    return [pytest.param(case, id=name(case)) for case in cases]
