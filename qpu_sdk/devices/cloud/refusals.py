"""Which answers to a creation say for certain that no job was created: those in the provider's own words, alone.

A gateway that stands before the provider may answer 401, 403, 404, 413, 429 or anything else after the provider took
the job. So a code alone proves nothing: the answer must be a JSON object as the vendor sends it, with an error that
begins as one of the vendor's (OpenAPI 2.8.0-rc4), under a code that the vendor uses for refusals.
"""

from __future__ import annotations

import re
from typing import Literal

Refusal = Literal["credits", "queue", "token", "closed", "request"]

#: Codes of the vendor's refusals. No 429, 425 or 413 is in its specification: those are others' words, if any.
_CODES = frozenset({400, 401, 403, 404, 422})
_WORDS: dict[Refusal, str] = {
    "credits": r"not enough (credits|\S+ time left)",
    "queue": r"cannot create more than \d+ jobs",
    "token": r"invalid or expired job token|authentication failed: |invalid user$",
    "closed": r"create job disabled|platform not found|platform .{1,200} is locked|no permission to use (platform|"
    r"algorithm) |cannot have more than \d+ running|(quantum toolbox )?command .{1,200} is (not available on platform|"
    r"not defined)",
    "request": r"invalid (payload|platform|max_shots|iterator|job id)\b|require platform_id|max[_ ]duration .|"
    r"max shots must|process_id is existed|validation error$|missing data for required field",
}
_REFUSALS = {kind: re.compile(words, re.IGNORECASE) for kind, words in _WORDS.items()}


def refusal_of(code: int, answer: object) -> Refusal | None:
    """What a refusal is about, ``None`` for an answer that does not prove that nothing was created.

    >>> refusal_of(400, {"error": "Cannot create more than 10 jobs"}), refusal_of(429, {"error": "Too many requests"})
    ('queue', None)
    """
    if code not in _CODES or not isinstance(answer, dict):
        return None
    said = answer.get("error") or answer.get("message")
    if not isinstance(said, str):
        return None
    if code == 404 and said == "Not found" and "detail" in answer:  # the vendor's shape: other servers say so too
        return "closed"
    if code == 422 and _names_fields(answer.get("detail")):
        return "request"
    return next((kind for kind, words in _REFUSALS.items() if words.match(said.strip())), None)


def _names_fields(detail: object) -> bool:
    """Whether it is the vendor's ``{location: {field: [what is wrong]}}``."""
    return (
        isinstance(detail, dict)
        and bool(detail)
        and all(
            isinstance(fields, dict) and fields and all(isinstance(wrong, list) for wrong in fields.values())
            for fields in detail.values()
        )
    )
