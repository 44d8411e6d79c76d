"""Text and ids from outside."""

import pytest

from app.text import MAX_ID, clean_name, clean_text, read_id


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("plain", "plain"),
        ("a\x00b", "ab"),
        ("\x00\x00", ""),
        ("half \ud83d of one", "half \ufffd of one"),
        ("\udcff", "\ufffd"),
        ("whole \U0001f600, two\nlines", "whole \U0001f600, two\nlines"),
    ],
)
def test_clean_text_can_be_stored(given: str, clean: str) -> None:
    assert clean_text(given) == clean
    clean_text(given).encode()


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1.5", str(MAX_ID + 1), "9" * 5000, "²", "1_0"])
def test_what_can_be_no_id_is_none(text: str) -> None:
    assert read_id(text) is None


def test_ids_are_read() -> None:
    assert (read_id("1"), read_id(" 12 "), read_id(str(MAX_ID))) == (1, 12, MAX_ID)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("  beta\t0.1\n", "beta 0.1"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2066b\u2069", "ab"),
        ("\x1b[31mred\x00", "[31mred"),
        ("Größe مرحبا 👩\u200d🔬", "Größe مرحبا 👩\u200d🔬"),
        ("\x85\u2028", ""),
    ],
)
def test_a_name_is_one_line_that_reads_one_way(given: str, name: str) -> None:
    assert clean_name(given) == name
