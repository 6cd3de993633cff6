"""The token, taken out of everything that a server says."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, final

from pydantic import SecretStr

from ...words import one_line

#: Shorter tokens are no secrets, and their letters stand in every text.
_SHORTEST = 6
#: Anything that looks like somebody's token; only characters that tokens are made of, so that JSON stays JSON.
_ANY_TOKEN = r"_T_[\w.~+/=%-]+|\bbearer(?:\s|%20|\\[nrt]){1,9}[\w.~+/=%-]+"
#: What may stand between two characters of a token that is wrapped or coloured: no terminal shows it.
_SPLIT = "[\x00-\x1f\x7f\xad\u200b-\u200f\u2028\u2029\u2060\ufeff]"
_BETWEEN = rf"(?:\x1b\[[0-9;]{{0,9}}[A-Za-z]|\\[nrt]|{_SPLIT} {{0,8}}){{0,3}}"
_ENCODED = re.compile(rf"[%\\&]|{_SPLIT}")


@final
class TokenMask:
    """Replaces a token by ``***`` in others' words, in whatever form they echo it; shows nothing of the token itself.

    Forms: as it is and in other letters' case, without its ``_T_``, with any of its characters percent-encoded or
    escaped as in JSON and HTML, with breaks or colours between them, inside base64, and as hexadecimal digits.

    >>> TokenMask(SecretStr("_T" "_hidden.one")).words("refused HIDDEN%2Eone for you")
    'refused *** for you'
    """

    def __init__(self, token: SecretStr) -> None:
        self._mask = _masking(token.get_secret_value())

    def masked(self, value: Any) -> Any:
        """A JSON value with every text in it masked, and halves of characters written out: no encoder takes them.

        :raises RecursionError: when it is nested deeper than anything that is meant.
        """
        if isinstance(value, str):
            found = self._mask(value)
            return found if found.isascii() else re.sub("[\ud800-\udfff]", lambda m: ascii(m[0])[1:-1], found)
        if isinstance(value, list):
            return [self.masked(one) for one in value]
        if isinstance(value, dict):
            return {self.masked(key): self.masked(one) for key, one in value.items()}
        return value

    def words(self, text: object, limit: int = 300) -> str:
        """Words for a message, a log or a journal: masked first, so that no half of a token is left, then cut."""
        return one_line(self._mask(str(text)), limit)


def _masking(token: str) -> Callable[[str], str]:
    """A function, because an attribute with the pattern would show the token."""
    core = token.removeprefix("_T_")
    forms = [_ANY_TOKEN]
    if len(core) >= _SHORTEST:
        prefix = "".join(f"{_character(c)}{_BETWEEN}" for c in "_T_")
        forms.insert(0, f"(?:{prefix})?{_BETWEEN.join(map(_character, core))}")
        forms.append(f"(?:5f545f)?{core.encode().hex()}")
        encoded = _in_base64(core)
        forms += [f"(?-i:{re.escape(part)}[A-Za-z0-9+/_=-]*)" for part in encoded]
    else:
        encoded = []
    pattern = re.compile("|".join(forms), re.IGNORECASE)
    signs = [core.lower(), core.lower().replace("+", " "), core.encode().hex()] if len(core) >= _SHORTEST else []
    signs += ["_t_", "bearer", *(part.lower() for part in encoded)]

    def mask(text: str) -> str:
        low = text.lower()  # a result is megabytes, and the pattern is slow
        return pattern.sub("***", text) if _ENCODED.search(text) or any(sign in low for sign in signs) else text

    return mask


def _character(c: str) -> str:
    """Pattern of one character in all its spellings; what repeats is bounded, or a server could make it take hours."""
    code, zeros = ord(c), "0{0,6}"
    escaped = rf"%(?:25){{0,3}}{code:02x}|\\{{1,8}}(?:u00|x){code:02x}|&#(?:x{zeros}{code:x}|{zeros}{code});"
    return f"(?:{re.escape(c)}|{escaped}{'| ' if c == '+' else ''})"  # a blank is what a form makes of a plus


def _in_base64(core: str) -> list[str]:
    """What base64 makes of a token that begins at any of three places, without what its neighbours change."""
    found = set()
    for before in range(3):
        raw = b"\0" * before + core.encode()
        whole = raw[: len(raw) // 3 * 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            part = encode(whole)[4 if before else 0 :].decode()
            if len(part) >= 8:  # fewer characters stand in any compressed text by chance
                found.add(part)
    return sorted(found)
