"""Faults of the emulated cloud, from a TOML file: which calls go wrong, and how."""

from __future__ import annotations

import threading
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, final, get_args

import numpy as np

from ..errors import ConfigError
from ..seeds import child_seed

Endpoint = Literal["platform", "create", "status", "result", "cancel", "rerun", "availability", "data", "usage", "any"]
Action = Literal["answer", "drop", "drop-after", "delay", "html", "empty", "truncate", "replace"]

_HANDLED_ALWAYS: tuple[Action, ...] = ("drop-after", "delay", "truncate", "replace")

#: Keys that only some actions take.
_ONLY_FOR: dict[str, tuple[Action, ...]] = {
    "status": ("answer",),
    "headers": ("answer",),
    "include_job_id": ("answer",),
    "body": ("answer", "replace"),
    "null": ("replace",),
    "remove": ("replace",),
    "handled": ("answer", "html", "empty"),
    "delay_s": ("delay",),
}


@final
@dataclass(frozen=True)
class Fault:
    """One rule; without ``calls``, ``every``, ``first`` and ``probability`` it holds for all calls.

    :param endpoint: whose calls; ``"any"`` counts and matches all of them.
    :param action: ``answer`` sends ``status``, ``body`` and ``headers`` instead; ``drop`` aborts the connection with
        nothing done, ``drop-after`` with the request done; ``delay`` holds the true answer back ``delay_s``; ``html``
        and ``empty`` answer 200 with no JSON; ``truncate`` sends half of the true body; ``replace`` lays ``body``
        over the true answer.
    :param calls: numbers of the calls, from 1.
    :param every: every so many calls.
    :param first: that many first calls.
    :param probability: of every call, drawn from the server's seed.
    :param job: only calls about the n-th created job, from 1.
    :param null: fields of the true answer that ``replace`` sets to null, which TOML cannot write.
    :param remove: fields of the true answer that ``replace`` takes away.
    :param handled: the request is done before the wrong answer is sent.
    :param include_job_id: put the id of the created job into the body; needs ``handled``.
    :param delay_s: real seconds.
    :raises ConfigError: when a key does not fit.
    """

    endpoint: Endpoint
    action: Action
    calls: tuple[int, ...] = ()
    every: int = 0
    first: int = 0
    probability: float = 1.0
    job: int = 0
    status: int = 500
    body: Any = None
    null: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    handled: bool = False
    include_job_id: bool = False
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in (("endpoint", get_args(Endpoint)), ("action", get_args(Action))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"fault {name} is {getattr(self, name)!r}. Use one of {', '.join(allowed)}.")
        for name in ("every", "first", "job"):
            if not _is_whole(getattr(self, name)) or getattr(self, name) < 0:
                raise ConfigError(f"fault {name} is {getattr(self, name)!r}; it must be a whole number from 1. Fix it.")
        if not isinstance(self.calls, tuple) or not all(_is_whole(call) and call >= 1 for call in self.calls):
            raise ConfigError(f"fault calls is {self.calls!r}; it must be whole numbers from 1. Write [1, 2].")
        if not _is_number(self.probability) or not 0.0 <= self.probability <= 1.0:
            raise ConfigError(f"fault probability is {self.probability!r}; it must be 0 to 1. Choose such a value.")
        if not _is_whole(self.status) or not 200 <= self.status <= 599:
            raise ConfigError(f"fault status is {self.status!r}; it must be 200 to 599. Choose such a code.")
        if not _is_number(self.delay_s) or self.delay_s < 0:
            raise ConfigError(f"fault delay_s is {self.delay_s!r}; it must be 0 or more seconds. Choose such a value.")
        for name, value in (("headers", self.headers), ("body", self.body if self._merges else {})):
            if not isinstance(value, dict):
                raise ConfigError(f"fault {name} is {value!r}; it must be a table. Write {{ key = 1 }}.")
        for name in ("null", "remove"):
            if not isinstance(getattr(self, name), tuple) or not all(isinstance(f, str) for f in getattr(self, name)):
                raise ConfigError(f"fault {name} is {getattr(self, name)!r}; it must be names of fields. Fix it.")
        if self.include_job_id and not self.handled:
            raise ConfigError("fault include_job_id is true but handled is not: no job exists. Set handled = true.")

    @property
    def _merges(self) -> bool:
        return self.include_job_id or (self.action == "replace" and self.body is not None)

    @property
    def is_handled(self) -> bool:
        """Whether the server does what was asked."""
        return self.handled or self.action in _HANDLED_ALWAYS


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@final
class Faults:
    """The rules of one server, and how often every endpoint was called.

    >>> faults = Faults.parse('[[fault]]\\nendpoint = "status"\\naction = "drop"\\ncalls = [2]')
    >>> [faults.next("status", seed=1) is None for _ in range(3)]
    [True, False, True]
    """

    def __init__(self, rules: tuple[Fault, ...] = ()) -> None:
        self.rules = rules
        self._calls: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: str | Path) -> Faults:
        """Read a TOML file; raises :class:`ConfigError` when it cannot be read or a key does not fit."""
        try:
            return cls.parse(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"faults file {path} cannot be read ({error}). Name a TOML file.") from error

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read TOML text: a ``[[fault]]`` table per rule; raises :class:`ConfigError`."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"faults are not TOML ({error}). Write [[fault]] tables.") from error
        if unknown := sorted(set(tables) - {"fault"}):
            raise ConfigError(f"faults have an unknown key {unknown[0]!r}. Write [[fault]] tables only.")
        rules = tables.get("fault", [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise ConfigError("fault is not a list of tables. Write [[fault]], with two brackets.")
        return cls(tuple(_fault(rule) for rule in rules))

    def next(self, endpoint: str, *, seed: int, job: int | None = None) -> Fault | None:
        """Count a call and return the rule that it meets, the first one in the file.

        :param seed: of the rules with a probability.
        :param job: number of the job that the call is about, from 1.
        """
        with self._lock:
            met = None
            for index, rule in enumerate(self.rules):
                if rule.endpoint not in (endpoint, "any") or (rule.job and rule.job != job):
                    continue
                # With `job` the calls about that job count, else all calls of the endpoint.
                self._calls[index, rule.endpoint] += 1
                number = self._calls[index, rule.endpoint]
                if met is None and _holds(rule, number, child_seed(seed, "fault", index, number)):
                    met = rule
            return met


def _holds(rule: Fault, number: int, seed: int) -> bool:
    if rule.calls and number not in rule.calls:
        return False
    if (rule.every and number % rule.every) or (rule.first and number > rule.first):
        return False
    return rule.probability >= 1.0 or np.random.default_rng(seed).random() < rule.probability


def _fault(table: Mapping[str, Any]) -> Fault:
    known = [f.name for f in fields(Fault)]
    if unknown := [key for key in table if key not in known]:
        raise ConfigError(f"fault has an unknown key {unknown[0]!r}. Known keys: {', '.join(known)}.")
    for key in ("endpoint", "action"):
        if key not in table:
            raise ConfigError(f"fault has no {key}. Name one.")
    for key, actions in _ONLY_FOR.items():
        if key in table and table["action"] not in actions:
            raise ConfigError(f"fault {key} does not go with action {table['action']!r}. Use {' or '.join(actions)}.")
    for key in ("every", "first", "job"):
        if key in table and table[key] == 0:
            raise ConfigError(f"fault {key} is 0; it must be a whole number from 1. Leave it out for all calls.")
    if "calls" in table and not table["calls"]:
        raise ConfigError("fault calls is empty. Leave it out for all calls.")
    values = dict(table)
    for key in ("calls", "null", "remove"):
        if isinstance(values.get(key), list):
            values[key] = tuple(values[key])
    return Fault(**values)
