"""Faults of the emulated cloud, from a TOML file: which calls go wrong, and how."""

from __future__ import annotations

import re
import threading
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from ..errors import ConfigError
from ..files import regular, user_path
from ..seeds import child_seed
from ..words import did_you_mean

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

#: Calls and jobs count from 1.
Whole = Annotated[int, Field(strict=True, ge=1)]


@final
class Fault(BaseModel):
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
    :raises pydantic.ValidationError: when a key does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    endpoint: Endpoint
    action: Action
    calls: tuple[Whole, ...] = Field(default=(), min_length=1)
    every: Whole | None = None
    first: Whole | None = None
    probability: float = Field(default=1.0, strict=True, ge=0.0, le=1.0)
    job: Whole | None = None
    status: int = Field(default=500, strict=True, ge=200, le=599)
    body: Any = None
    null: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    handled: StrictBool = False
    include_job_id: StrictBool = False
    delay_s: float = Field(default=0.0, strict=True, ge=0.0)

    @model_validator(mode="after")
    def _fits_together(self) -> Fault:
        for key, actions in _ONLY_FOR.items():
            if key in self.model_fields_set and self.action not in actions:
                raise ValueError(f"{key} does not go with action {self.action!r}. Use {' or '.join(actions)}.")
        if self.include_job_id and not self.handled:
            raise ValueError("include_job_id is true but handled is not: no job exists. Set handled = true.")
        merges = self.include_job_id or (self.action == "replace" and self.body is not None)
        if merges and not isinstance(self.body, dict):
            raise ValueError(f"body is {self.body!r}; it must be a table. Write {{ key = 1 }}.")
        return self

    @property
    def is_handled(self) -> bool:
        """Whether the server does what was asked."""
        return self.handled or self.action in _HANDLED_ALWAYS

    def holds(self, number: int, *, seed: int) -> bool:
        """Whether the rule holds for the call with that number, from 1."""
        return (
            (not self.calls or number in self.calls)
            and (self.every is None or number % self.every == 0)
            and (self.first is None or number <= self.first)
            and (self.probability == 1.0 or np.random.default_rng(seed).random() < self.probability)
        )


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
            return cls.parse(regular(user_path(path, "the file of faults")).read_text(encoding="utf-8-sig"))
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
                if rule.endpoint not in (endpoint, "any") or rule.job not in (None, job):
                    continue
                # With `job` the calls about that job count, else all calls of the endpoint.
                self._calls[index, rule.endpoint] += 1
                number = self._calls[index, rule.endpoint]
                # Rules behind the one that is met count this call too.
                if met is None and rule.holds(number, seed=child_seed(seed, "fault", index, number)):
                    met = rule
            return met


def _fault(table: dict[str, Any]) -> Fault:
    try:
        return Fault.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"fault {_problem(error, table)}") from error


def _problem(error: ValidationError, table: dict[str, Any]) -> str:
    """What is wrong with a table, the value, what is allowed, and the way out."""
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "missing":
        return f"has no {key}. Name one."
    if first["type"] == "extra_forbidden":
        near = did_you_mean(key, Fault.model_fields)
        return f"has an unknown key {key!r}.{near} Known keys: {', '.join(Fault.model_fields)}."
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    allowed = re.sub(r"^\w+ should", "it must", first["msg"])
    way_out = "Choose such a value" if Fault.model_fields[key].is_required() else "Choose such a value, or leave it out"
    return f"{key} is {table[key]!r}; {allowed}. {way_out}."
