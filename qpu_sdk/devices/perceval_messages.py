"""What may stand in Perceval's protobuf messages: experiments and circuits, looked at before Perceval reads them.

Their words and formulas are those of :mod:`qpu_sdk.devices.perceval_checks`. Every mode that a message names must be
one of its circuit: parts of Perceval read at such an index without a look at the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from .perceval_checks import (
    LARGEST_REAL,
    STATE_KINDS,
    ReadingBudget,
    UnreadableText,
    check_body,
    check_formula,
    check_name,
    check_selected_modes,
    is_name,
)

#: A text of Perceval inside another one, read by the caller: the text, the kinds, and the plain text as answer.
Nested = Callable[[str, frozenset[str]], str]

#: Whole numbers whose bound is not the number of modes, and the bound.
_WHOLE = {
    ("Experiment", "min_photons_filter"): 0x0FFFFFFF,  # Perceval's "not set"
    ("Herald", "value"): 255,
    ("Detector", "n_wires"): 10_000,
    ("Detector", "max_detections"): 10_000,
    ("BSLayeredPPNR", "bs_layers"): 8,  # 2^8 detectors
}
_LONGEST_DELAY, _LONGEST_NAME = 64.0, 1000
_NESTED = {
    "input_state": STATE_KINDS,
    "noise_model": frozenset({"NoiseModel"}),
    "post_select": frozenset({"PostSelect"}),
}
_KEYED_BY_STATES = frozenset({("FFConfigurator", "configs"), ("FFCircuitProvider", "config_circ")})


def check_message(message: Any, budget: ReadingBudget, nested: Nested, depth: int = 0) -> None:
    """Look at a protobuf message of Perceval with everything inside it; its inner texts become plain ones.

    :param nested: reads an inner text.
    :raises UnreadableText: when something in it is too large, or is evaluated and not plain.
    """
    kind = message.DESCRIPTOR.name
    budget.check_depth(depth)
    budget.spend("objects")
    if kind == "Component":
        budget.spend("components")
    if kind == "Parameter":
        _check_parameter(message)
    if kind in ("Experiment", "Circuit"):
        _check_places(message)
    if kind == "TimeDelay" and abs(message.dt.real_value) > _LONGEST_DELAY:
        raise UnreadableText(f"a delay of {message.dt.real_value:g} periods; the limit is {_LONGEST_DELAY:g}.")
    for field, value in message.ListFields():
        if kind == "Experiment" and field.name in _NESTED:
            plain = nested(value, _NESTED[field.name])
            setattr(message, field.name, plain)
            if field.name == "post_select":
                check_selected_modes(plain.split(":", 3)[3], message.n_mode)
            continue
        if hasattr(value, "items"):
            for key in value:
                _check_key(key, budget, states=(kind, field.name) in _KEYED_BY_STATES)
        for one in _each(value):
            if hasattr(one, "ListFields"):
                check_message(one, budget, nested, depth + 1)
            else:
                _check_value(one, kind, field.name, budget)


def _check_places(message: Any) -> None:
    """Refuse ports, detectors and components outside an experiment or a circuit: not all of Perceval checks that."""
    modes = message.n_mode
    tables = (message.input_ports, message.output_ports, message.detectors) if hasattr(message, "detectors") else ()
    for mode in (mode for table in tables for mode in table):
        _check_range(mode, mode + 1, modes, "a port or a detector")
    for component in message.components:
        first, size = component.starting_mode, component.n_mode
        kind = component.WhichOneof("type")
        inner: Any = getattr(component, kind) if kind else None
        _check_range(first, first + max(1, size, getattr(inner, "n_mode", 1)), modes, "a component")
        if kind == "permutation" and sorted(inner.permutations) != list(range(size)):
            raise UnreadableText(f"a permutation of {size} modes does not name each of them once. Send it again.")
        if kind in ("ff_configurator", "ff_circuit_provider"):
            largest = max(1, *_sizes(inner))
            start = first + size + inner.offset if inner.offset >= 0 else first + inner.offset - largest + 1
            _check_range(start, start + largest, modes, "a circuit that is fed forward")


def _sizes(forward: Any) -> Iterable[int]:
    """Modes of the circuits that a measurement chooses from, heralded ones left out."""
    if hasattr(forward, "controlled_circuit"):
        yield forward.controlled_circuit.n_mode
        return
    for one in (forward, *forward.config_circ.values()):
        if one.WhichOneof(one.DESCRIPTOR.oneofs[0].name) == "circuit":
            yield one.circuit.n_mode
        else:
            yield one.experiment.n_mode - sum(port.HasField("herald") for port in one.experiment.output_ports.values())


def _check_range(first: int, after: int, modes: int, what: str) -> None:
    if not 0 <= first < after <= modes:
        raise UnreadableText(f"{what} is on modes {first}..{after - 1} of {modes}. Use modes 0..{modes - 1}.")


def _each(value: Any) -> Iterable[Any]:
    """The values of a field: one, several, or those of a table."""
    if isinstance(value, str | bytes | bool | int | float) or hasattr(value, "ListFields"):
        return (value,)
    return value.values() if hasattr(value, "items") else value  # type: ignore[no-any-return]


def _check_key(key: str | int, budget: ReadingBudget, *, states: bool) -> None:
    if isinstance(key, int):
        budget.check_modes(key)
    elif states:
        check_body("BasicState", key, budget)
    else:
        check_name(key)


def _check_value(value: Any, kind: str, field: str, budget: ReadingBudget) -> None:
    if isinstance(value, float):
        budget.spend("objects")
        if not abs(value) <= LARGEST_REAL or not math.isfinite(value):
            raise UnreadableText(f"a number is {value:g}; the limit is {LARGEST_REAL:g}. Send finite numbers.")
    elif isinstance(value, int) and (kind, field) in _WHOLE:
        if not 0 <= value <= _WHOLE[kind, field]:
            raise UnreadableText(f"{field} is {value}; the limit is {_WHOLE[kind, field]}. Send less.")
    elif isinstance(value, int):
        budget.spend("objects")
        budget.check_modes(value)
    elif isinstance(value, str) and len(value) > _LONGEST_NAME:
        raise UnreadableText(f"{field} has {len(value)} characters; the limit is {_LONGEST_NAME}. Shorten it.")


def _check_parameter(parameter: Any) -> None:
    form = parameter.WhichOneof("type")
    if form == "expression":
        declared = [inner.symbol or inner.name for inner in parameter.expr_parameters]
        for name in declared:
            check_name(name)
        check_formula(parameter.expression, declared)
        if declared:  # Perceval then evaluates the name
            check_formula(parameter.name, declared)
    elif form == "symbol":
        check_name(parameter.symbol)
    elif parameter.name and not is_name(parameter.name):
        parameter.ClearField("name")  # a formula that has a value: Perceval needs no more than that
