"""A token is found in every form in which a server may echo it, and other words stay as they are."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from qpu_sdk.devices.cloud.masking import TokenMask

SECRET = "c2VjcmV0.b25l/dHdv+w=="
MASK = TokenMask(SecretStr(f"_T_{SECRET}"))
FORMS = {
    "whole": f"_T_{SECRET}",
    "header": f"Authorization: Bearer _T_{SECRET}",
    "other case": f"_T_{SECRET}".upper(),
    "without its beginning": SECRET,
    "percent-encoded": quote(f"_T_{SECRET}", safe=""),
    "percent-encoded twice": quote(quote(SECRET, safe=""), safe=""),
    "every character percent-encoded": "".join(f"%{ord(c):02x}" for c in SECRET),
    "escaped in JSON": "".join(f"\\u{ord(c):04x}" for c in SECRET),
    "escaped in JSON inside JSON": json.dumps("".join(f"\\u{ord(c):04X}" for c in SECRET))[1:-1],
    "escaped in HTML": "".join(f"&#{ord(c)};" for c in SECRET),
    "escaped in HTML, hexadecimal": "".join(f"&#x{ord(c):X};" for c in SECRET),
    "wrapped": f"{SECRET[:10]}\r\n {SECRET[10:]}",
    "wrapped in JSON inside JSON": f"{SECRET[:10]}\\n{SECRET[10:]}",
    "in two colours": f"{SECRET[:10]}\x1b[1;31m{SECRET[10:]}",
    "with what is not shown": "\u200b".join(SECRET),
    "out of a form": SECRET.replace("+", " "),
    "hexadecimal": f"_T_{SECRET}".encode().hex(),
    "base64": base64.b64encode(f"_T_{SECRET}".encode()).decode(),
    "base64 after a user's name": base64.b64encode(f"user:_T_{SECRET}".encode()).decode(),
    "base64 after a longer one": base64.b64encode(f"a user:_T_{SECRET}".encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(f"Bearer _T_{SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("around", ["{}", "the token {} is wrong", "x={}&y=1", "<b>{}</b>", "\x1b[31m{}\x00"])
def test_every_form_is_masked_in_words_and_in_answers(form: str, around: str) -> None:
    echo = around.format(FORMS[form])
    answer = MASK.masked({"error": [echo, {echo: echo}], "n": 1})
    for said in (MASK.words(echo), str(answer["error"][0]), *answer["error"][1], *answer["error"][1].values()):
        assert "***" in said
        for part in (FORMS[form][-12:-2], SECRET[4:12]):
            assert part.lower() not in said.lower()
    assert answer["n"] == 1


@pytest.mark.parametrize("limit", range(10, 60, 7))
def test_nothing_is_cut_before_it_is_masked(limit: int) -> None:
    """Half a token would not be found."""
    said = MASK.words(f"{'x' * 20} {SECRET} and more", limit)
    assert len(said) <= limit
    assert not any(SECRET[:n] in said for n in range(4, len(SECRET)))


def test_tokens_of_others_are_masked_and_json_stays_json() -> None:
    assert MASK.words("Bearer abc.def, bearer  x and _T_else.where!") == "***, *** and ***!"
    inner = json.dumps({"a": "_T_else", "b": ["Bearer", "x"]})
    assert json.loads(MASK.masked(inner)) == {"a": "***", "b": ["Bearer", "x"]}


@settings(max_examples=100)
@given(st.recursive(st.none() | st.integers() | st.text(alphabet="abc_ %\\&=<>{}\"'é", max_size=30), st.lists))
def test_what_holds_no_token_stays_as_it_is(value: object) -> None:
    assert MASK.masked(value) == value


def test_halves_of_characters_are_written_out() -> None:
    found = MASK.masked({"a\ud800": ["é\udfff"]})
    assert found == {"a\\ud800": ["é\\udfff"]}
    assert json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("token", ["", "x", "_T_", "_T_a", "run"])
def test_a_token_too_short_for_a_secret_garbles_nothing(token: str) -> None:
    assert TokenMask(SecretStr(token)).words("extra words run by a taxi") == "extra words run by a taxi"


def test_the_mask_does_not_show_the_token() -> None:
    assert SECRET not in f"{MASK!r} {vars(MASK)!r}"


@pytest.mark.parametrize(
    "part",
    ["\\", "%", "%25", "&#0", "&#x0", "bearer ", " ", "_T_", "\\u00", "c2", "c\n", "\n", "\x1b[0", SECRET[:-1], "<"],
)
def test_no_text_takes_long(part: str) -> None:
    """Time grows with the length, not with its square: a server chooses the text."""
    text = f"bearer{part * (1_000_000 // len(part))}%"
    assert len(MASK.masked(text)) <= len(text) + 3
