"""Customers see their own language, and each language has each text."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.checkout.view import SCENES
from web.html.languages import language_for, languages


def fields(text: str) -> set[str]:
    """Return the names of a text's placeholders."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_there_are_at_least_four_languages() -> None:
    """English is the first."""
    assert next(iter(languages())) == "en"
    assert set(languages()) >= {"en", "de", "fr", "es"}


@pytest.mark.parametrize("code", languages())
def test_each_language_has_each_text(code: str) -> None:
    """The texts have the same placeholders, and no markup."""
    english, words = languages()["en"].words, languages()[code].words
    assert words.keys() == english.keys()
    for key, text in words.items():
        assert fields(text) <= fields(english[key]), key
        assert "<" not in text
        assert text == text.strip() != ""
    for scene in SCENES:
        assert words.keys() >= {f"{scene}.headline", f"{scene}.lead"}


@pytest.mark.parametrize(
    ("accept_language", "code"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.5, fr;q=0.9", "fr"),
        ("pt-BR, es;q=0.7, en;q=0.3", "es"),
        ("pt, zh-Hant", "en"),
        ("*", "en"),
        ("fr;q=0.2, *;q=0.8", "en"),
        ("en;q=0, *", "de"),
        ("en;q=0", "en"),
        ("fr;q=nonsense, de", "de"),
        ("fr;q=1.5, de;q=0.1", "de"),
        ("de, fr", "de"),
        ("fr, de", "fr"),
        (",,;q=1,de;q=0.001", "de"),
    ],
)
def test_the_browser_s_preference_chooses_the_language(accept_language: str | None, code: str) -> None:
    """Its weights decide, and then its order (RFC 9110, 12.5.4)."""
    assert language_for(accept_language).code == code


def test_a_chosen_language_goes_before_the_browser_s() -> None:
    """An unknown one changes nothing."""
    assert language_for("de", "fr").code == "fr"
    assert language_for("de", "xx").code == "de"
    assert language_for("de", "../en").code == "de"


@given(st.text(alphabet="abcdefr-*;=q0123456789., ") | st.text())
def test_any_header_gives_a_language(accept_language: str) -> None:
    assert language_for(accept_language).code in languages()


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("en", ["135.99 EUR", "1,234.50 EUR", "1,234,567 JPY"]),
        ("de", ["135,99 EUR", "1.234,50 EUR", "1.234.567 JPY"]),
        ("fr", ["135,99 EUR", "1\u202f234,50 EUR", "1\u202f234\u202f567 JPY"]),
        ("es", ["135,99 EUR", "1234,50 EUR", "1.234.567 JPY"]),
    ],
)
def test_amounts_have_the_format_of_the_language(code: str, written: list[str]) -> None:
    """No amount is converted to a float."""
    language = languages()[code]
    amounts = [language.amount(*each) for each in [("135.99", "EUR"), ("1234.50", "EUR"), ("1234567", "JPY")]]
    assert [each.replace("\N{NO-BREAK SPACE}", " ") for each in amounts] == written
