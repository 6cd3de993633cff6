"""What may stand in a Perceval text: its words and its formulas, looked at before Perceval reads them.

Perceval hands formulas, and names of parameters too once it negates them, to sympy, which evaluates them as Python.
Its parser of post-selections takes time exponential in the parentheses and ends the process when they are many; a
name ``a:999999999`` becomes as many symbols. So each is parsed here first, by rules that know only what Perceval
itself writes.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

from ..errors import DataError

STATE_KINDS = frozenset({"BasicState", "StateVector", "SVDistribution"})

#: Larger numbers are no setting of any device.
LARGEST_REAL = 1e9

_NAME = re.compile(r"[^\W\d]\w{0,63}")
_FORMULA = re.compile(r"[\w .+*/^()-]{1,200}", re.ASCII)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UAdd, ast.USub)
_CONSTANTS = frozenset({"pi"})
_LARGEST_NUMBER, _LARGEST_EXPONENT, _LARGEST_FORMULA = 1e6, 16, 100

_COUNT = r"\d{0,3}"
_MODE = rf"{_COUNT}(?:\{{[\w:.,]{{0,40}}\}}{_COUNT})*+"  # *+ never goes back
_STATE = rf"\|{_MODE}(?:,{_MODE}){{0,255}}+>"
_REAL = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?"
_TERM = rf"\({_REAL},{_REAL}\)\*{_STATE}"
_VECTOR = rf"{_TERM}(?:\+{_TERM})*+"
_BODIES = {
    kind: re.compile(pattern, re.ASCII)
    for kind, pattern in {
        "BasicState": _STATE,
        "StateVector": _VECTOR,
        "SVDistribution": rf"\{{(?:{_VECTOR}={_REAL}(?:;{_VECTOR}={_REAL})*+)?\}}",
        "BSCount": rf"\{{(?:{_STATE}=\d{{1,19}}(?:;{_STATE}=\d{{1,19}})*+)?\}}",
        "BSSamples": rf"(?:{_STATE}(?:;{_STATE})*+)?/(?:\d{{1,8}}(?:;\d{{1,8}})*+)?",
        "PostSelect": r"[\[\]\d\s,<>=!&|^()A-Za-z]{0,4000}",
    }.items()
}
NOISE_FIELDS = frozenset(
    [
        "brightness",
        "indistinguishability",
        "g2",
        "g2_distinguishable",
        "transmittance",
        "phase_imprecision",
        "phase_error",
    ]
)
_STATES = re.compile(r"\|[^>]*>")
_MODE_LISTS = re.compile(r"\[([^\[\]]*)")  # what is not closed too: nobody here says what Perceval makes of it
_LONGEST_COUNT = 9
_DEEPEST_SELECTION, _MOST_NEGATIONS = 6, 2  # its parser takes time exponential in both


@final
class UnreadableText(DataError):
    """A text from outside is no Perceval text that is read here."""


@final
@dataclass(frozen=True)
class Limits:
    """How large a text from outside, with all that it holds, may be.

    :param text: characters as they came.
    :param unpacked: bytes after compression is undone.
    :param depth: lists, circuits and texts inside each other.
    :param modes: of a state or a circuit.
    :param components: of all circuits.
    :param objects: values of any kind.
    :param outcomes: different outcomes of counts.
    :param samples: of a list of samples.
    """

    text: int = 256 * 2**20
    unpacked: int = 256 * 2**20
    depth: int = 32
    modes: int = 256
    components: int = 50_000
    objects: int = 2_500_000
    outcomes: int = 5_000_000
    samples: int = 20_000_000


Countable = Literal["unpacked", "components", "objects", "outcomes", "samples"]


@final
class ReadingBudget:
    """What is left of the limits while one text is read, with everything inside it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._spent: dict[str, int] = {}

    def spend(self, what: Countable, number: int = 1) -> None:
        """Count these; raises :class:`UnreadableText` when they are too many."""
        self._spent[what] = self._spent.get(what, 0) + number
        if self._spent[what] > getattr(self.limits, what):
            self.refuse(f"more than {getattr(self.limits, what)} {what}")

    def spent(self, what: Countable) -> int:
        """How many of these were counted so far."""
        return self._spent.get(what, 0)

    def check_depth(self, depth: int) -> None:
        """Refuse what is nested deeper than the limit."""
        if depth > self.limits.depth:
            self.refuse(f"more than {self.limits.depth} levels inside each other")

    def check_modes(self, modes: int) -> None:
        """Refuse more modes than the limit."""
        if abs(modes) > self.limits.modes:
            self.refuse(f"{modes} modes or places; the limit is {self.limits.modes}")

    def refuse(self, what: str) -> None:
        """Raise :class:`UnreadableText` about the size."""
        raise UnreadableText(f"the text holds {what}. Send a smaller one.")


def shown(value: object, length: int = 40) -> str:
    """A value from outside for a message: ASCII without control characters, cut.

    >>> shown("a" * 50 + "\\x1b[2J")
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'..."
    """
    text = str(value)
    return ascii(text[:length]) + ("..." if len(text) > length else "")


# -- words ----------------------------------------------------------------------------------------------------------


def is_name(name: str) -> bool:
    """Whether it is one word."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Refuse a name of a parameter that is more than a word, since sympy would evaluate it.

    :raises UnreadableText: for anything else.
    """
    if not is_name(name):
        raise UnreadableText(f"a parameter is called {shown(name)}. Use letters, digits and _, 64 at most.")


def check_formula(text: str, declared: Iterable[str]) -> None:
    """Refuse what is not plain arithmetic of numbers, ``pi`` and these names.

    >>> check_formula("(-2*a + pi/4)**2", {"a"})
    >>> check_formula("b + 1", {"a"})
    Traceback (most recent call last):
        ...
    qpu_sdk.devices.perceval_checks.UnreadableText: an expression 'b + 1' is no plain arithmetic of declared names...
    """
    try:
        known = frozenset(declared) | _CONSTANTS
        tree = ast.parse(text.replace("^", "**").strip(), mode="eval").body if _FORMULA.fullmatch(text) else None
        plain = tree is not None and _is_plain(tree, known) and sum(1 for _ in ast.walk(tree)) <= _LARGEST_FORMULA
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        plain = False
    if not plain:
        raise UnreadableText(
            f"an expression {shown(text)} is no plain arithmetic of declared names. Give the parameter a value."
        )


def _is_plain(node: ast.AST, known: frozenset[str]) -> bool:
    if isinstance(node, ast.Constant):
        return is_number(node.value, _LARGEST_NUMBER)
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, _OPERATORS) and _is_plain(node.operand, known)
    if not isinstance(node, ast.BinOp):
        return False
    if isinstance(node.op, ast.Pow):  # one at a time: towers of them are numbers that no memory holds
        towers = any(isinstance(inner, ast.Pow) for inner in ast.walk(node.left))
        return not towers and _is_plain(node.left, known) and _is_exponent(node.right)
    return isinstance(node.op, _OPERATORS) and _is_plain(node.left, known) and _is_plain(node.right, known)


def _is_exponent(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and is_number(node.value, _LARGEST_EXPONENT)


def check_body(kind: str, body: str, budget: ReadingBudget) -> None:
    """Refuse the text of a state, counts, samples, noise or a post-selection that Perceval would not have written.

    :raises UnreadableText: for what is not plain, not known, or too large.
    """
    if kind == "NoiseModel":
        return _check_noise(body)
    if _BODIES[kind].fullmatch(body) is None:
        raise UnreadableText(f"text of kind {kind} cannot be read (not as Perceval 1.3 writes it). Send it again.")
    if kind == "PostSelect":
        return _check_selection(body, budget.limits)
    if kind in ("StateVector", "SVDistribution") and len({state.count(",") for state in _STATES.findall(body)}) > 1:
        raise UnreadableText(
            f"text of kind {kind} cannot be read (its states differ in modes). Use those of one circuit."
        )
    outcomes, _, order = body.partition("/")
    if kind == "BasicState":
        budget.check_modes(body.count(",") + 1)  # one more than the commas
    else:
        budget.spend("outcomes", outcomes.count(";") + outcomes.count("+") + 1)
        budget.spend("samples", order.count(";") + 1)
    return None


def _check_noise(body: str) -> None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        key in NOISE_FIELDS and (value is None or is_number(value, LARGEST_REAL) or isinstance(value, bool))
        for key, value in found.items()
    ):
        raise UnreadableText(f"text of kind NoiseModel cannot be read: {shown(body)} is no table of its numbers.")


def _check_selection(body: str, limits: Limits) -> None:
    check_selected_modes(body, limits.modes)
    depth = 0
    for bracket in re.findall("[()]", body):
        depth += 1 if bracket == "(" else -1
        if depth > _DEEPEST_SELECTION:
            raise UnreadableText(f"a post-selection has more than {_DEEPEST_SELECTION} levels. Write fewer ( ).")
    if re.search(rf"(?:(?:!|not)[\s(]*){{{_MOST_NEGATIONS + 1},}}", body, re.IGNORECASE):
        raise UnreadableText(f"a post-selection is negated more than {_MOST_NEGATIONS} times. Write fewer !.")


def check_selected_modes(body: str, modes: int) -> None:
    """Refuse a post-selection on modes that are not there: Perceval would read memory that is not its own.

    :param body: such as ``[0, 1] == 1 & [2] > 0``.
    :param modes: M of the circuit.
    :raises UnreadableText: for a mode of M or more, and for numbers too long to be counts.

    >>> check_selected_modes("[0, 2] == 1", 3)
    >>> check_selected_modes("[0, 3] == 1", 3)
    Traceback (most recent call last):
        ...
    qpu_sdk.devices.perceval_checks.UnreadableText: a post-selection names mode 3 of 3. Use modes 0..2.
    """
    tight = re.sub(r"\s", "", body)
    if any(len(number) > _LONGEST_COUNT for number in re.findall(r"\d+", tight)):
        raise UnreadableText(
            f"a post-selection has a number of more than {_LONGEST_COUNT} digits. Write a smaller one."
        )
    found = max((int(n) for listed in _MODE_LISTS.findall(tight) for n in re.findall(r"\d+", listed)), default=-1)
    if found >= modes:
        raise UnreadableText(f"a post-selection names mode {found} of {modes}. Use modes 0..{modes - 1}.")


def is_number(value: object, largest: float) -> bool:
    """Whether it is a number, no truth value, and not too large."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= largest


def check_iteration(iteration: object, *, modes: int | None = None) -> None:
    """Refuse an iteration of a job whose values are texts: a phase that is one would be evaluated.

    :param iteration: the table that a client varies, its Perceval texts read.
    :param modes: of the experiment, which a post-selection must not leave; None where it is not known.
    :raises UnreadableText: when a phase is not a number, another value is a text or a list, or a mode is not there.
    """
    if not isinstance(iteration, dict):
        raise UnreadableText(f"an iteration is {shown(iteration)}. Send a table of what varies.")
    if modes is not None and iteration.get("postselect") is not None:
        check_selected_modes(str(iteration["postselect"]), modes)
    for key, value in iteration.items():
        if key == "circuit_params" and isinstance(value, dict):
            for name, phase in value.items():
                if not isinstance(name, str) or not (phase is None or is_number(phase, LARGEST_REAL)):
                    raise UnreadableText(f"phase {shown(name)} is {shown(phase)}. Send finite numbers.")
        elif key == "circuit_params" and value is None:
            continue
        elif not isinstance(key, str) or isinstance(value, str | bytes | list | tuple | dict):
            raise UnreadableText(f"{shown(key)} of an iteration is {shown(value)}. Send a number or Perceval's object.")
