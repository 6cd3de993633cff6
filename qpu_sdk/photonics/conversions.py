"""What Perceval's objects say, read without losing anything: interferometers, input states, counts.

Objects only: texts of Perceval (``:PCVL:...``) are read by :mod:`qpu_sdk.devices.perceval_texts` alone, because
Perceval's own reader evaluates expressions in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import ComplexArray, IntArray, OutcomeArray
from ..errors import DataError, ProgramError
from .inputs import Inputs, modes_of_inputs

if TYPE_CHECKING:
    import perceval


def interferometer_of(
    found: Any, input_state: Inputs | None = None, *, unselected: bool = False
) -> tuple[ComplexArray, tuple[int, ...]]:
    """The unitary ``(M, M)`` of a Perceval object, and the modes that single photons enter.

    :param found: a circuit, an ``Experiment``, or a ``Processor`` with one. Its noise and its detectors belong to a
        device and are left aside.
    :param input_state: where photons enter, as of :class:`~qpu_sdk.photonics.program.Program`; an experiment's own
        unless given.
    :param unselected: True to take heralded photons like all others and to leave every selection to the caller.
    :raises ProgramError: for what is no interferometer with a plain input state; the message says which part is not.
    """
    import perceval as pcvl

    experiment = getattr(found, "experiment", found)
    if isinstance(experiment, pcvl.Experiment):
        _check_experiment(experiment, unselected=unselected)
        circuit = experiment.unitary_circuit()
        input_state = experiment.input_state if input_state is None else input_state
    elif isinstance(experiment, pcvl.ACircuit):
        circuit = experiment
    else:
        raise ProgramError(f"a {type(found).__name__} holds no circuit. Give a Circuit, an Experiment or a Processor.")
    if input_state is None:
        raise ProgramError("no input state. Give one, such as perceval.BasicState([1, 0, 1]).")
    return _unitary(circuit), modes_of_inputs(input_state, circuit.m)


def _check_experiment(experiment: perceval.Experiment, *, unselected: bool) -> None:
    """Raise :class:`ProgramError` for what a program cannot say."""
    select = experiment.post_select_fn
    for wrong, what, way in (
        (experiment.has_feedforward, "feed-forward", "Give a circuit that does not depend on what is measured"),
        (experiment.heralds and not unselected, "heralds", "Give the whole circuit with all its photons as input"),
        (experiment.has_td, "time delays", "Use unitary components only"),
        (not experiment.is_unitary, "components that lose photons", "Put the loss into the noise of a device"),
        (
            select is not None and select.has_condition and not unselected,  # an empty one selects nothing
            "a post-selection",
            "Clear it, and select among the counts",
        ),
    ):
        if wrong:
            raise ProgramError(f"the experiment has {what}, which no program has. {way}.")
    if not experiment.circuit_size:
        raise ProgramError("the experiment has no modes. Add a circuit first.")


def _unitary(circuit: perceval.ACircuit) -> ComplexArray:
    unset = sorted(parameter.name for parameter in circuit.get_parameters() if not parameter.defined)
    if unset:
        raise ProgramError(f"parameters {', '.join(unset[:5])} of the circuit have no value. Give each one.")
    if circuit.requires_polarization:
        raise ProgramError("the circuit acts on polarisation, which no program has. Use spatial modes only.")
    try:
        return np.array(circuit.compute_unitary(), dtype=np.complex128)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ProgramError(f"the circuit has no unitary ({error}). Use unitary components with values.") from error


def counted(found: Any) -> tuple[OutcomeArray, IntArray]:
    """Clicks per mode ``(K, M)`` and how often each was seen ``(K,)``, without the empty window.

    :param found: a ``perceval.BSCount``, ``BSSamples``, or the dictionary of results that holds one.
    :raises DataError: for probabilities, which have no total, for annotated states, and for outcomes of several sizes.
    """
    import perceval as pcvl

    if isinstance(found, Mapping) and "results" in found:
        found = found["results"]
    if isinstance(found, pcvl.BSDistribution):
        raise DataError("these are probabilities without a number of shots. Ask Perceval for sample_count.")
    if isinstance(found, pcvl.BSSamples):
        table = pcvl.BSCount()
        for state in found:
            table.add(state, 1)
        found = table
    if not isinstance(found, pcvl.BSCount):
        raise DataError(f"a {type(found).__name__} is no counts. Give a perceval.BSCount.")
    if not all(isinstance(state, pcvl.FockState) for state in found):
        raise DataError("some outcomes are annotated states. Give counts of plain Fock states.")
    # Without a filter Perceval counts empty windows too; a shot here is a window with a click.
    pairs = [(tuple(int(n) for n in state), int(number)) for state, number in found.items() if sum(state)]
    sizes = sorted({len(state) for state, _ in pairs})
    if len(sizes) != 1:
        raise DataError(f"the outcomes have {sizes or 'no'} modes. Take counts of one circuit.")
    outcomes, numbers = zip(*pairs, strict=True)
    if max(map(max, outcomes)) > 255:  # as uint8 it would wrap around
        raise DataError("an outcome has a mode with more than 255 clicks. Check the outcomes.")
    return np.array(outcomes, dtype=np.uint8), np.array(numbers, dtype=np.int64)
