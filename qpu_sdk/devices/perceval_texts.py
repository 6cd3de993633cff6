"""The one reader of Perceval texts that come from outside: from a server, from a client, out of a file.

Perceval's own deserializer builds whatever a text names and evaluates the formulas in it as Python. So a text is
unpacked here, up to a size; its kind must be one of those that the caller expects; and every part of it is looked at
before Perceval gets it. Only this module calls Perceval's deserializer, one thread at a time.
"""

from __future__ import annotations

import base64
import importlib
import re
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from ..photonics.turns import LOCK
from .perceval_archives import ARCHIVE, TEXTS, taken_apart
from .perceval_checks import Limits, ReadingBudget, UnreadableText, check_body, check_iteration, shown
from .perceval_messages import check_message

__all__ = [
    "ARCHIVE",
    "Limits",
    "UnreadableText",
    "check_iteration",
    "hardware",
    "read",
    "read_tree",
    "unpack",
    "written",
]

_PACKED = (":PCVL:zip:", "pcvlar:zip:")
#: Kinds of texts that hold a protobuf message: its class, and Perceval's function for it.
_MESSAGES = {"Experiment": ("Experiment", "deserialize_experiment"), "ACircuit": ("Circuit", "deserialize_circuit")}
_WORDS = {
    "BasicState": "BasicState",
    "StateVector": "deserialize_statevector",
    "SVDistribution": "deserialize_svdistribution",
    "BSCount": "deserialize_bscount",
    "BSSamples": "deserialize_bssamples",
    "NoiseModel": "deserialize_noise_model",
    "PostSelect": "deserialize_postselect",
}
DEFAULT_LIMITS = Limits()


def read(text: object, kinds: frozenset[str], limits: Limits = DEFAULT_LIMITS) -> Any:
    """The Perceval object of a text, which may be compressed, or an archive.

    :param kinds: that are expected, of ``:PCVL:KIND:``; with :data:`ARCHIVE` archives too, and then the tags of the
        objects in it, besides numbers, words, lists and tables.
    :raises UnreadableText: for any other kind, and what is damaged, too large or not plain.

    >>> read(":PCVL:BSCount:{|1,0>=3}", frozenset({"BSCount"}))
    BSCount{|1,0>: 3}
    """
    return _read(text, kinds, ReadingBudget(limits), 0)


def read_tree(value: object, kinds: frozenset[str], limits: Limits = DEFAULT_LIMITS) -> Any:
    """JSON whose texts of Perceval are replaced by their objects; what is no such text stays as it is.

    :param value: tables, lists, numbers and texts inside each other.
    :param kinds: as for :func:`read`.
    :raises UnreadableText: when one of the texts is refused, or all together are too large.

    >>> read_tree({"counts": [":PCVL:BasicState:|1,0>", 2]}, frozenset({"BasicState"}))
    {'counts': [|1,0>, 2]}
    """
    return _tree(value, kinds, ReadingBudget(limits), 0)


def hardware(text: object, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Size and detectors of an experiment; the rest of it is left out.

    :raises UnreadableText: when it is no experiment, damaged or too large.
    """
    budget = ReadingBudget(limits)
    plain, kind = _typed(text, frozenset({"Experiment"}), budget)
    with LOCK:
        from perceval.serialization.deserialize import deserialize_experiment, pb

        whole, bare = _parsed(plain, kind), pb.Experiment()
        bare.MergeFrom(pb.Experiment(n_mode=whole.n_mode, min_photons_filter=whole.min_photons_filter))
        for mode, detector in whole.detectors.items():
            bare.detectors[mode].CopyFrom(detector)
        check_message(bare, budget, lambda text, kinds: text)
        return _built(kind, lambda: deserialize_experiment(bare))


def written(thing: object) -> Any:
    """What ``perceval.serialization.serialize`` makes of it, one thread at a time."""
    from perceval.serialization import serialize

    with LOCK:
        return serialize(thing)


def unpack(text: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """``:PCVL:zip:`` and ``pcvlar:zip:`` undone; other text as it is.

    :raises UnreadableText: when it is damaged or unpacks to more than the limit.

    >>> unpack(":PCVL:BSCount:{}")
    ':PCVL:BSCount:{}'
    """
    return _unpack(text, ReadingBudget(limits))


def _unpack(text: str, budget: ReadingBudget) -> str:
    prefix = next((p for p in _PACKED if text.startswith(p)), None)
    if prefix is None:
        return text
    unzip, limit = zlib.decompressobj(), budget.limits.unpacked
    try:
        # one byte more than the limit, so that a text of just that size still reaches its check sum
        raw = unzip.decompress(base64.b64decode(text[len(prefix) :], validate=True), limit + 1)
        body = raw.decode() if len(raw) <= limit else ""
    except (ValueError, zlib.error) as error:  # bad base64 and bad UTF-8 are ValueErrors
        raise UnreadableText(f"a compressed text is damaged ({type(error).__name__})") from None
    if len(raw) > limit:
        raise UnreadableText(f"a compressed text exceeds {limit} bytes")
    if not unzip.eof:
        raise UnreadableText("a compressed text is cut off")
    budget.spend("unpacked", len(raw))
    return body if prefix.startswith(":") else f"{ARCHIVE}{body}"


# -- one text -------------------------------------------------------------------------------------------------------


def _typed(text: object, kinds: frozenset[str], budget: ReadingBudget) -> tuple[str, str]:
    """The plain text and its kind, one of those; ``pcvlar`` for an archive."""
    if not isinstance(text, str):
        raise UnreadableText(f"a {type(text).__name__} where text was expected")
    if len(text) > budget.limits.text:
        budget.refuse(f"{len(text)} characters; the limit is {budget.limits.text}")
    plain = _unpack(text, budget)
    _check_characters(plain)
    if plain.startswith(f"{ARCHIVE} "):
        kind = ARCHIVE
    else:
        kind = plain.split(":", 3)[2] if plain.startswith(":PCVL:") and plain.count(":") >= 3 else ""
    if kind not in kinds:
        named = repr(kind) if re.fullmatch("[A-Za-z]{1,24}", kind) else "unknown"
        raise UnreadableText(f"text of kind {named} where {' or '.join(sorted(kinds))} was expected")
    return plain, kind


def _check_characters(text: str) -> None:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise UnreadableText("a text holds half a character (a lone surrogate). Send UTF-8.") from None


def _read(text: object, kinds: frozenset[str], budget: ReadingBudget, depth: int) -> Any:
    budget.check_depth(depth)
    budget.spend("objects")
    plain, kind = _typed(text, kinds, budget)
    with LOCK:
        if kind == ARCHIVE:
            return _read_archive(plain, kinds, budget, depth)
        if kind in _MESSAGES:
            message = _looked_at(_parsed(plain, kind), budget, depth)
            return _built(kind, lambda: _function(_MESSAGES[kind][1])(message))
        body = plain.split(":", 3)[3]
        check_body(kind, body, budget)
        found = _built(kind, lambda: _function(_WORDS[kind])(body))
        if kind == "BSCount" and len(found) != (body.count(";") + 1 if len(body) > 2 else 0):
            raise UnreadableText("text of kind BSCount cannot be read (an outcome occurs twice)")
        return found


def _function(name: str) -> Callable[[Any], Any]:
    # by its path: in Perceval's package the function of the same name hides the module
    function: Callable[[Any], Any] = getattr(importlib.import_module("perceval.serialization.deserialize"), name)
    return function


def _built(kind: str, build: Callable[[], Any]) -> Any:
    try:
        return build()
    except Exception as error:  # Perceval raises whatever its parsers raise
        raise UnreadableText(f"text of kind {kind} cannot be read ({type(error).__name__})") from None


def _parsed(plain: str, kind: str) -> Any:
    from perceval.serialization.deserialize import pb

    message = getattr(pb, _MESSAGES[kind][0])()
    # validate: without it b64decode drops what is no base64, and two texts would be one.
    _built(kind, lambda: message.ParseFromString(base64.b64decode(plain.split(":", 3)[3], validate=True)))
    return message


def _looked_at(message: Any, budget: ReadingBudget, depth: int) -> Any:
    def nested(text: str, kinds: frozenset[str]) -> str:
        inner, kind = _typed(text, kinds, budget)
        check_body(kind, inner.split(":", 3)[3], budget)
        return inner

    check_message(message, budget, nested, depth)
    return message


# -- several --------------------------------------------------------------------------------------------------------


def _read_archive(plain: str, kinds: frozenset[str], budget: ReadingBudget, depth: int) -> Any:
    from perceval.serialization import InputArchive, Serialization

    def checked(tag: str, text: str) -> tuple[str, int]:
        if tag in TEXTS:
            check_body(TEXTS[tag], text, budget)
            return text, 1
        before = budget.spent("objects")
        message = _looked_at(_parsed(f":PCVL:{tag}:{text}", tag), budget, depth)
        return base64.b64encode(message.SerializeToString()).decode(), budget.spent("objects") - before

    parts = taken_apart(plain, kinds, budget, checked)
    return _built("archive", lambda: Serialization.deserialize(InputArchive.from_json(parts)))


def _tree(value: object, kinds: frozenset[str], budget: ReadingBudget, depth: int) -> Any:
    budget.check_depth(depth)
    budget.spend("objects")
    inner = partial(_tree, kinds=kinds, budget=budget, depth=depth + 1)
    if isinstance(value, dict):
        return {_key(key): inner(one) for key, one in value.items()}
    if isinstance(value, list):
        return [inner(one) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith((":PCVL:", *_PACKED, f"{ARCHIVE} ")):
        return _read(value, kinds, budget, depth)
    _check_characters(value)
    return value


def _key(key: object) -> object:
    if isinstance(key, str):
        _check_characters(key)
    if isinstance(key, str) and key.startswith((":PCVL:", ARCHIVE)):
        raise UnreadableText(f"a key is a Perceval text ({shown(key)}). Use words for keys.")
    return key
