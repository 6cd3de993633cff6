"""What is wrong with a configuration, in one line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError

from ..words import short


def config_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem: its key, the value and what is allowed; of an unknown key the nearest that there is.

    :param model: that was to be made.
    """
    problems = error.errors(include_url=False)
    # A key that is misspelt is missing as well: the former says what to do.
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    where = problem["loc"]
    key = ".".join(str(part) for part in where)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, where[:-1])
        near = _nearest(model, where, known)
        return f"unknown key {key!r}.{f' Did you mean {near}?' if near else ''} There are: {', '.join(known)}."
    if problem["type"] == "missing":
        return f"{key}: is missing. Add it."
    message = _PLAIN.get(problem["type"], problem["msg"]).removeprefix("Value error, ").rstrip(".")
    # What does not fit together is a whole table, which says nothing that the message does not.
    got = (
        ""
        if problem["type"] == "value_error" and isinstance(problem["input"], dict)
        else f" (got {short(problem['input'])})"
    )
    return f"{key}{': ' if key else ''}{message}{got}."


#: What pydantic says in words of Python, in words of TOML.
_PLAIN = {
    "tuple_type": "Input should be a list of tables or values",
    "model_type": "Input should be a table",
    "model_attributes_type": "Input should be a table",
    "dict_type": "Input should be a table",
    "bool_parsing": "Input should be true or false",
    "bool_type": "Input should be true or false",
}


def _nearest(model: type[BaseModel], where: tuple[int | str, ...], known: list[str]) -> str:
    """The key that is most like one, with its tables: of the same table, else of another, into which it belongs."""
    leaf = str(where[-1])
    if near := get_close_matches(leaf, known, n=1):
        return ".".join(map(str, (*where[:-1], near[0])))
    others = {key: f"{table}.{key}" for table in model.model_fields for key in _keys_within(model, table)}
    return next((others[key] for key in get_close_matches(leaf, others, n=1)), "")


def _keys_within(model: type[BaseModel], table: str) -> list[str]:
    """Keys of a table; of what is none, or a list of tables, nothing."""
    inner = model.model_fields[table].annotation
    return list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, BaseModel) else []


def _keys_at(model: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    """Keys of the table at this place."""
    for part in where:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            inner = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel)]
            model = inner[0]
    return list(model.model_fields)
