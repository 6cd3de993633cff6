"""Perceval's objects in, ours out, and what they say that no program or counts can."""

from __future__ import annotations

from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.errors import DataError, ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.fock import collision_free_outcomes
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program
from tests.oracles.unitaries import haar

STATE = pcvl.BasicState([1, 0, 1])


def circuit() -> pcvl.Circuit:
    return pcvl.Circuit(3) // (0, pcvl.BS(0.3)) // (1, pcvl.BS(1.1)) // (2, pcvl.PS(0.4)) // (0, pcvl.BS(2.0))


def slos(circuit: pcvl.ACircuit, state: pcvl.BasicState) -> np.ndarray[Any, Any]:
    """The conditional collision-free distribution, by Perceval alone."""
    backend = pcvl.BackendFactory.get_backend("SLOS")
    backend.set_circuit(circuit)
    backend.set_input_state(state)
    wanted = collision_free_outcomes(circuit.m, state.n)
    p = np.array(
        [
            backend.probability(pcvl.BasicState([int(mode in outcome) for mode in range(circuit.m)]))
            for outcome in wanted.tolist()
        ]
    )
    return p / p.sum()


# -- programs ----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), modes=st.integers(2, 6))
def test_a_unitary_of_perceval_gives_the_same_distribution(seed: int, modes: int) -> None:
    unitary = pcvl.Unitary(pcvl.Matrix(haar(modes, seed)))
    state = pcvl.BasicState([1] + [0] * (modes - 2) + [1])
    program = Program.from_perceval(unitary, state)
    np.testing.assert_allclose(program.mesh.unitary(program.phases), np.array(unitary.U), atol=1e-10)
    np.testing.assert_allclose(program.probabilities(), slos(unitary, state), atol=1e-10)


@given(seed=st.integers(0, 1000))
def test_there_and_back_is_the_same_program_but_for_its_mesh(seed: int) -> None:
    program = Program.random(BrickwallMesh(4), photons=2, seed=seed)
    back = Program.from_perceval(*program.to_perceval())
    assert back.input_modes == program.input_modes
    np.testing.assert_allclose(back.mesh.unitary(back.phases), program.mesh.unitary(program.phases), atol=1e-12)
    again = Program.from_perceval(*back.to_perceval())
    np.testing.assert_allclose(again.probabilities(), program.probabilities(), atol=1e-10)


def test_a_circuit_an_experiment_and_a_processor_are_the_same_program() -> None:
    experiment = pcvl.Experiment(circuit())
    experiment.with_input(STATE)
    processor = pcvl.Processor("SLOS", circuit())
    processor.with_input(STATE)
    prints = {
        Program.from_perceval(circuit(), STATE).fingerprint,
        Program.from_perceval(circuit(), "|1,0,1>").fingerprint,
        Program.from_perceval(experiment).fingerprint,
        Program.from_perceval(processor).fingerprint,
    }
    assert len(prints) == 1


def experiment_with(add: Any, state: Any = STATE) -> pcvl.Experiment:
    experiment = pcvl.Experiment(circuit())
    add(experiment)
    if state is not None:
        experiment.with_input(state)
    return experiment


def fed_forward(experiment: pcvl.Experiment) -> None:
    experiment.add(0, pcvl.Detector.pnr())
    experiment.add(0, pcvl.FFCircuitProvider(1, 0, pcvl.Circuit(2)))


REFUSED: dict[str, tuple[Any, str]] = {
    "two photons in a mode": (lambda: (circuit(), pcvl.BasicState([2, 0, 1])), "2 photons enter mode 0"),
    "heralds": (lambda: (experiment_with(lambda e: e.add_herald(2, 1), pcvl.BasicState([1, 0])), None), "heralds"),
    "feed-forward": (lambda: (experiment_with(fed_forward), None), "feed-forward"),
    "loss": (lambda: (experiment_with(lambda e: e.add(0, pcvl.LC(0.1))), None), "lose photons"),
    "post-selection": (lambda: (experiment_with(lambda e: e.set_postselection("[0]==1")), None), "post-selection"),
    "no value": (lambda: (circuit() // (0, pcvl.PS(pcvl.P("phi"))), STATE), "parameters phi .* no value"),
    "polarised": (lambda: (circuit(), pcvl.BasicState("|{P:H},0,{P:V}>")), "polarised"),
    "annotated": (lambda: (circuit(), pcvl.BasicState("|{a:0},0,{a:1}>")), "annotated"),
    "superposition": (lambda: (circuit(), pcvl.StateVector("|1,0,1>") + pcvl.StateVector("|0,1,1>")), "StateVector"),
    "another size": (lambda: (circuit(), pcvl.BasicState([1, 0])), "2 modes, the circuit 3"),
    "no input": (lambda: (circuit(), None), "no input state"),
    "no photon": (lambda: (circuit(), pcvl.BasicState([0, 0, 0])), "distinct modes"),
    "no circuit": (lambda: (pcvl.Matrix(np.eye(3)), STATE), "holds no circuit"),
    "polarising": (lambda: (pcvl.Circuit(2) // pcvl.WP(0.1, 0.2), pcvl.BasicState([1, 0])), "polarisation"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_program_says_is_one_line(kind: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(ProgramError, match=words) as caught:
        Program.from_perceval(*make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["|1,0", "|{_:0},0>", "|1,0>; import os", "|__import__('os')>", ":PCVL:x", "|2^9,0,1>"]
)
def test_a_text_that_is_no_fock_state_is_never_evaluated(text: str) -> None:
    with pytest.raises(ProgramError, match="no Fock state"):
        Program(IsometryMesh(3, 2), np.zeros(IsometryMesh(3, 2).declared), text)


# -- where photons enter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inputs", [(0, 2), [0, 2], [2, 0], [1, 0, 1], (1, 0, 1), np.array([0, 2]), np.array([1, 0, 1]), "|1,0,1>", STATE]
)
def test_every_notation_is_the_same_input(inputs: Any) -> None:
    mesh = RectangularMesh(3)
    program = Program(mesh, np.zeros(mesh.declared), inputs)
    assert program.input_modes == (0, 2)
    assert all(type(mode) is int for mode in program.input_modes)
    assert program.fingerprint == Program(mesh, np.zeros(mesh.declared), (0, 2)).fingerprint


def test_of_two_modes_a_tuple_is_modes_and_a_list_a_state() -> None:
    mesh = RectangularMesh(2)
    assert Program(mesh, np.zeros(4), (0, 1)).input_modes == (0, 1)
    assert Program(mesh, np.zeros(4), [0, 1]).input_modes == (1,)


@pytest.mark.parametrize("inputs", [(0.7, 1.2), (0, 0), (0, 3), (-1, 0), [], [0, 0, 0], ["0", "2"], [2, 0, 1, 0], 5])
def test_inputs_that_lose_something_are_refused(inputs: Any) -> None:
    with pytest.raises(ProgramError):
        Program(RectangularMesh(3), np.zeros(9), inputs)


@pytest.mark.parametrize(
    "phases", [np.zeros(9) + 1j, ["a"] * 9, np.zeros(9, dtype=bool), np.full(9, np.nan), np.zeros(8)]
)
def test_phases_that_lose_something_are_refused(phases: Any) -> None:
    with pytest.raises(ProgramError):
        Program(RectangularMesh(3), phases, (0, 1))


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint8, np.uint64])
def test_a_mesh_is_the_same_of_every_kind_of_integer(kind: type[np.integer[Any]]) -> None:
    assert BrickwallMesh(kind(4)).fingerprint == BrickwallMesh(4).fingerprint
    assert IsometryMesh(kind(4), kind(2)).fingerprint == IsometryMesh(4, 2).fingerprint


@pytest.mark.parametrize("modes", [4.0, "4", None, 4 + 0j])
def test_modes_that_are_no_whole_number_are_refused(modes: Any) -> None:
    with pytest.raises(ProgramError, match="whole number"):
        BrickwallMesh(modes)


# -- counts ------------------------------------------------------------------------------------------------


def test_counts_come_from_a_table_from_samples_and_from_results() -> None:
    table = pcvl.BSCount({pcvl.BasicState([1, 1, 0]): 2, pcvl.BasicState([0, 1, 1]): 1, pcvl.BasicState([0, 0, 0]): 5})
    samples = pcvl.BSSamples()
    samples.extend([pcvl.BasicState([1, 1, 0]), pcvl.BasicState([1, 1, 0]), pcvl.BasicState([0, 1, 1])])
    for found in (table, samples, {"results": table}):
        counts = Counts.from_perceval(found, photons=2, detector="threshold")
        assert counts.shots == 3
        assert counts.collision_free().tolist() == [2, 0, 1]
        assert counts.detector == "threshold"


@given(st.dictionaries(st.tuples(*[st.integers(0, 3)] * 3).filter(any), st.integers(1, 2**40), min_size=1))
def test_counts_there_and_back(table: dict[tuple[int, ...], int]) -> None:
    found = pcvl.BSCount({pcvl.BasicState(list(state)): number for state, number in table.items()})
    assert Counts.from_perceval(found, photons=2).to_perceval() == found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (pcvl.BSDistribution({pcvl.BasicState([1, 0]): 1.0}), "without a number of shots"),
        (pcvl.BSCount({pcvl.BasicState([1, 0]): 1, pcvl.BasicState([1, 0, 0]): 1}), r"\[2, 3\] modes"),
        (pcvl.BSCount(), "no modes"),
        ({pcvl.BasicState([1, 0]): 1}, "no counts"),
    ],
)
def test_what_is_no_counts_is_one_line(found: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Counts.from_perceval(found, photons=1)
