"""``python -m tests.benchmarks.configuration``: the tables of docs/reference/configuration.md, from the models.

What stands in them is what ``qpu-sdk config --schema`` prints; a test fails when they differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import qpu_sdk as qs

from .pages import ROOT, replace_between

PAGE = ROOT / "docs" / "reference" / "configuration.md"
#: From here on a limit only says that nobody wants more.
_NO_LIMIT = 10**9
_WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
_SIGNS = {"minimum": "≥ ", "maximum": "≤ ", "exclusiveMinimum": "> ", "exclusiveMaximum": "< "}
_SIGNS |= {"ge": "≥ ", "le": "≤ ", "gt": "> ", "lt": "< "}


def kind_of(schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "anyOf" in schema:
        return " or ".join(kind_of(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f'`"{value}"`' for value in schema["enum"])
    if "$ref" in schema:
        return "table"
    if schema["type"] == "array":
        return "tables" if "$ref" in schema["items"] else f"list of {_WORDS[schema['items']['type']]}s"
    limits = [f"{sign}{schema[key]:g}" for key, sign in _SIGNS.items() if abs(schema.get(key, _NO_LIMIT)) < _NO_LIMIT]
    return ", ".join([_WORDS[schema["type"]], *limits])


def default_of(schema: dict[str, Any]) -> str:
    """As TOML has it; nothing for a table, whose keys have theirs."""
    if "default" not in schema:
        return "must be given"
    value = schema["default"]
    if value is None or value == []:
        return "unset"
    if isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:_}`" if isinstance(value, int) else f"`{value}`"


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    """The header of every table as TOML has it, and its schema; first the keys outside of tables."""
    schema = qs.RunConfig.model_json_schema()
    yield "", schema
    for name, one in schema["properties"].items():
        inside = one.get("items", one).get("$ref")
        if inside:
            yield (f"[[{name}]]" if "items" in one else f"[{name}]"), schema["$defs"][inside.rpartition("/")[2]]


def rows_of(schema: dict[str, Any]) -> Iterator[str]:
    """A line a key."""
    yield "| key | value | default | what it is |"
    yield "| --- | --- | --- | --- |"
    for key, one in schema["properties"].items():
        if kind_of(one) not in ("table", "tables"):
            yield f"| `{key}` | {kind_of(one)} | {default_of(one)} | {one['description'].rstrip('.')} |"


def tables() -> str:
    """All of them, each under its header and what its class says."""
    parts = []
    for header, schema in sections():
        parts += [
            f"## `{header}`\n\n{schema['description']}\n" if header else "## Outside of tables\n",
            "\n".join(rows_of(schema)),
            "",
        ]
    return "\n".join(parts).rstrip()


if __name__ == "__main__":
    replace_between(PAGE, "configuration tables", tables())
