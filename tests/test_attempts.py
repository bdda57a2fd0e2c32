from __future__ import annotations

import pytest

from sfwebhooks.attempts import TITLE_MAX, Reply


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"no such hook", "no such hook"),
        (b'{"error": "<title>no</title>"}', '{"error": "<title>no</title>"}'),
        (b"<html><head><title>502 Bad Gateway</title></head>", "502 Bad Gateway"),
        (b"\r\n <!DOCTYPE HTML PUBLIC '-//W3C//DTD HTML'>\n<TITLE lang=en>It &amp; that</TITLE>", "It & that"),
        (b'<?xml version="1.0"?><!DOCTYPE html><html><title>No</title>', "No"),
        (b"<html><body>Sign in</body></html>", "<html><body>Sign in</body></html>"),
        (b"<html><title>" + b"a" * 1000, "a" * TITLE_MAX),
        (b"<html><title> </title>no", "<html><title> </title>no"),
        ("<html><title>Übel</title>".encode(), "Übel"),
        (b"<error>no</error>", "<error>no</error>"),
    ],
)  # fmt: skip
def test_of_a_page_the_title_is_shown_and_of_other_bodies_all(body: bytes, words: str) -> None:
    assert Reply(status=502, body=body).words == words


@pytest.mark.parametrize("part", [b"<title", b"<title ", b"<title>", b"<html><title\n"])
def test_a_body_of_many_titles_is_read_in_no_time(part: bytes) -> None:
    assert Reply(status=502, body=b"<html>" + part * 10_000).words
