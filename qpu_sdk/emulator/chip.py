"""What a cloud worker does with a setting: exact probabilities of the noisy chip, then honest counts."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np

from ..arrays import ComplexArray, FloatArray
from ..devices.noisy_chip import with_angle_errors
from ..devices.perceval_texts import read, written
from ..errors import ConfigError, ProgramError
from ..photonics.click_model import MAX_PRODUCTS, check_click_work
from ..photonics.counts import Detector
from ..photonics.detection import detected_distribution
from ..photonics.detectors import detectors_to_perceval
from ..photonics.meshes import RectangularMesh
from ..photonics.noise import Noise
from ..photonics.patterns import count_fock_states
from ..photonics.program_noise import ProgramNoise, enough_counts
from ..photonics.turns import LOCK
from ..seeds import child_seed
from .apart import simulated
from .payloads import Command, SentSetting, SettingResult, Submission

#: Exact distributions that are remembered, and the largest number of outcomes of one that is.
_REMEMBERED, _REMEMBERED_OUTCOMES = 64, 50_000

#: Precision of Perceval's simulator, relative to the probability of the events that pass the filter.
_RELATIVE_PRECISION = 1e-7

#: Finest precision asked of Perceval's simulator; 12 modes and 5 photons take minutes with a finer one.
_FINEST_PRECISION = 1e-10

#: Share of the accepted windows that may be dropped for having too many clicks, and the products that keeping the
#: others may take; the first that work is used.
_NEGLECTED = ((1e-9, 300_000_000), (1e-6, 300_000_000), (1e-4, MAX_PRODUCTS))

#: Most outcomes of detectors that resolve partly; more take seconds a setting.
_MOST_COUNTED = 200_000


@final
@dataclass(frozen=True)
class _Exact:
    """Outcomes of one setting.

    :param states: Perceval states, heralded modes taken away.
    :param p: their probabilities, given that the outcome is accepted.
    :param physical: probability that the filter lets a window pass.
    :param logical: probability of heralds and post-selection, given that.
    :param clicked: probability of a shot: a window with at least one detected photon.
    """

    states: list[Any]
    p: FloatArray
    physical: float
    logical: float
    clicked: float


@final
@dataclass(frozen=True)
class EmulatedChip:
    """The physics of one platform, and its random numbers.

    :param noise: the hidden truth.
    :param detector: of every mode, whatever the user set; ``"pnr"`` leaves what that is.
    :param takes_noise: whether the user's noise replaces the hidden one.
    """

    platform: str
    seed: int
    noise: Noise
    detector: Detector
    takes_noise: bool
    max_modes: int = 24
    max_photons: int = 12
    _memory: OrderedDict[str, _Exact] = field(default_factory=OrderedDict, compare=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def run(self, submission: Submission, index: int, occurrence: int) -> SettingResult:
        """Compute one setting.

        The random numbers follow from the server's seed, the content of the setting, and how often the server
        saw that content before (``occurrence``, from 0); threads and job ids play no role.
        """
        setting = submission.settings[index]
        rng = np.random.default_rng(child_seed(self.seed, setting.digest, occurrence))
        experiment, noise = self._prepare(submission, setting, rng)
        exact = self._exact(experiment, noise, sampling=submission.command != "probs")
        results, shots = _draw(exact, submission.command, setting, rng)
        entry = {"results": results, "global_perf": exact.physical * exact.logical, "nb_shots_used": shots}
        if submission.split_performance:
            entry |= {"physical_perf": exact.physical, "logical_perf": exact.logical}
        if setting.iteration is not None:
            entry["iteration"] = setting.iteration
        return SettingResult(written(entry), shots)

    def _prepare(self, submission: Submission, setting: SentSetting, rng: np.random.Generator) -> tuple[Any, Noise]:
        """The experiment with this setting's values, detectors and phase errors; and the noise of its photons."""
        iteration = setting.iteration or {}
        with LOCK:
            experiment = read(submission.experiment, frozenset({"Experiment"}))
            if "input_state" in iteration:
                experiment.with_input(iteration["input_state"])
        parameters = experiment.get_circuit_parameters()
        for name, value in (iteration.get("circuit_params") or {}).items():
            if value is not None:
                parameters[name].set_value(value)
        if "min_detected_photons" in iteration:
            experiment.min_detected_photons_filter(iteration["min_detected_photons"])
        if "postselect" in iteration:
            experiment.set_postselection(iteration["postselect"])
        self._check(experiment)
        noise = self._noise(iteration.get("noise", submission.noise))
        experiment.noise = None  # what counts of it is in noise now
        phase_seed = int(rng.integers(2**63))  # drawn in any case, so that what follows draws the same
        # Perceval moves the phase shifters, from a seed of this setting: one draw for all its shots.
        # A Unitary component has no phase shifter, so it stays as it is, as in Perceval's own simulator.
        if self.takes_noise:
            phase_seed = iteration.get("compilation_seed", phase_seed)
        experiment.apply_phase_noise(noise.phase_error, noise.phase_imprecision, random.Random(phase_seed))
        if self.detector != "pnr":
            _set_detectors(experiment, self.detector)
        return experiment, replace(noise, phase_error=0.0, phase_imprecision=0.0)

    def _check(self, experiment: Any) -> None:
        from perceval import FockState

        state = experiment.input_state
        if state is None:
            raise ConfigError("experiment has no input state. Call with_input().")
        if experiment.circuit_size > self.max_modes:
            raise ConfigError(f"circuit has {experiment.circuit_size} modes; {self.platform} has {self.max_modes}.")
        if isinstance(state, FockState) and state.n > self.max_photons:
            raise ConfigError(f"input has {state.n} photons; {self.platform} takes {self.max_photons}.")
        if self.detector != "pnr" and not (isinstance(state, FockState) and max(state) <= 1):
            raise ConfigError(f"input {state} is not one photon a mode at most, which is all {self.platform} takes.")

    def _noise(self, of_user: Any) -> Noise:
        return self.noise if of_user is None or not self.takes_noise else Noise.from_perceval(of_user)

    def _exact(self, experiment: Any, noise: Noise, *, sampling: bool) -> _Exact:
        if experiment.min_photons_filter is None:
            experiment.min_detected_photons_filter(experiment.input_state.n - sum(experiment.heralds.values()))
        heralded = sum(experiment.heralds.values())
        if sampling and experiment.min_photons_filter + heralded < 1:
            experiment.min_detected_photons_filter(1)  # a sample is a shot, and a shot has a click
        unitary = _unitary(experiment)
        if unitary is not None and noise.angle_error > 0.0 and len(unitary) > 1:
            unitary, noise = self._as_set(unitary, noise.angle_error), replace(noise, angle_error=0.0)
        if unitary is None:
            return _by_perceval(experiment, _uniform(noise))
        key = _key(unitary, experiment, noise)
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        # Not under the lock: at worst two threads compute the same, and no third one waits for them.
        exact = _by_model(unitary, experiment, noise, self.detector) if self.detector != "pnr" else None
        exact = exact or _by_perceval(experiment, _uniform(noise))
        with self._lock:
            if len(exact.p) <= _REMEMBERED_OUTCOMES:
                self._memory[key] = exact
            while len(self._memory) > _REMEMBERED:
                self._memory.popitem(last=False)
        return exact

    def _as_set(self, unitary: ComplexArray, angle_error: float) -> ComplexArray:
        """What the chip makes of a circuit: its own mesh, set to the same unitary, whose couplers are a little off."""
        mesh = RectangularMesh(len(unitary))
        return mesh.unitary(with_angle_errors(mesh, mesh.phases_of(unitary), angle_error, seed=self.seed))


def _uniform(noise: Noise) -> Noise:
    """Noise that Perceval's simulator has."""
    try:
        noise.to_perceval()
    except ConfigError as error:
        raise ConfigError(
            f"this circuit is not unitary or too large for such noise ({error}). Use fewer photons."
        ) from error
    return noise


def _set_detectors(experiment: Any, detector: Detector) -> None:
    found = detectors_to_perceval(np.ones(experiment.circuit_size), detector)
    detectors = experiment.detectors
    for mode, one in enumerate(found):
        detectors[mode] = one


def _unitary(experiment: Any) -> Any:
    from perceval import FockState

    if not experiment.is_unitary or not isinstance(experiment.input_state, FockState):
        return None
    circuit = experiment.unitary_circuit()
    return None if circuit.requires_polarization else np.asarray(circuit.compute_unitary(), dtype=np.complex128)


def _key(unitary: Any, experiment: Any, noise: Noise) -> str:
    detectors = [(d.name, d.max_detections) if d is not None else None for d in experiment.detectors]
    rest = (experiment.min_photons_filter, sorted(experiment.heralds.items()), str(experiment.post_select_fn))
    text = repr((str(experiment.input_state), rest, detectors, noise))
    return hashlib.sha256(unitary.tobytes() + text.encode()).hexdigest()


def _by_model(unitary: Any, experiment: Any, noise: Noise, detector: Detector) -> _Exact | None:
    """By the model of its detectors; None for second photons equal to the first, and when it would take too long."""
    from perceval import BSDistribution, FockState
    from perceval.utils import apply_post_select

    least = experiment.min_photons_filter + sum(experiment.heralds.values())
    inputs = [mode for mode, photons in enumerate(experiment.input_state) if photons]
    if not inputs or (noise.g2 > 0.0 and not noise.g2_distinguishable):
        return None
    model = noise.at(inputs, modes=len(unitary))
    most = _most_clicks(model, least) if detector == "threshold" else _most_counts(model, least)
    if most is None:
        return None
    clicks, p = detected_distribution(unitary[:, inputs], model, detector, most_clicks=most)
    passes = (clicks.sum(axis=1) >= least) & (p > 0.0)
    physical, clicked = float(p[passes].sum()), float(p[clicks.any(axis=1)].sum())
    states, p = [FockState(row) for row in clicks[passes].astype(int).tolist()], p[passes]
    logical = 1.0
    if physical > 0.0 and (experiment.heralds or experiment.post_select_fn.has_condition):
        passed = BSDistribution(dict(zip(states, (p / physical).tolist(), strict=True)))
        passed, logical = apply_post_select(passed, experiment.post_select_fn, experiment.heralds, False)
        states, p = list(passed.keys()), np.fromiter(passed.values(), dtype=np.float64)
    return _Exact(states, _normalised(p), physical, logical, clicked)


def _most_clicks(noise: ProgramNoise, least: int) -> int | None:
    modes, photons = len(noise.efficiency), len(noise.transmittance)
    for neglected, products in _NEGLECTED:
        try:
            most = enough_counts(noise, neglected=neglected, at_least=least)
        except ProgramError:
            most = least  # no window passes
        try:
            check_click_work(modes, photons, most, products=products)
        except ProgramError:
            continue
        return most
    return None


def _most_counts(noise: ProgramNoise, least: int) -> int | None:
    modes = len(noise.efficiency)
    for neglected, _ in _NEGLECTED:
        try:
            most = enough_counts(noise, neglected=neglected, at_least=least)
        except ProgramError:
            most = least  # no window passes
        if count_fock_states(modes, max(most, len(noise.transmittance))) <= _MOST_COUNTED:
            return most
    return None


def _by_perceval(experiment: Any, noise: Noise) -> _Exact:
    """By Perceval's simulator, which takes any experiment; slower, and drops the rarest events."""
    from perceval import PostSelect

    least = experiment.min_photons_filter + sum(experiment.heralds.values())
    selected = _simulated(experiment, noise, least)
    shot = experiment.copy()
    shot.clear_postselection()
    shot.min_detected_photons_filter(1 - sum(shot.heralds.values()))
    alone = least == 1 and not experiment.heralds and experiment.post_select_fn == PostSelect()
    clicked = selected["physical_perf"] if alone else _simulated(shot, noise, 1)["physical_perf"]
    states, p = list(selected["results"].keys()), np.fromiter(selected["results"].values(), dtype=np.float64)
    return _Exact(states, _normalised(p), selected["physical_perf"], selected["logical_perf"], clicked)


def _simulated(experiment: Any, noise: Noise, least: int) -> dict[str, Any]:
    # Perceval drops input states rarer than precision * the commonest, which at low transmittance is the vacuum.
    chance = noise.click_probability ** max(least, 0)
    return simulated(experiment, noise, min(1e-6, max(_FINEST_PRECISION, _RELATIVE_PRECISION * chance)))


def _normalised(p: FloatArray) -> FloatArray:
    total = p.sum()
    return p / total if total > 0.0 else p


def _draw(exact: _Exact, command: Command, setting: SentSetting, rng: np.random.Generator) -> tuple[Any, int]:
    """The result of a command and the shots it took."""
    import perceval as pcvl

    if command == "probs":
        return pcvl.BSDistribution(dict(zip(exact.states, exact.p.tolist(), strict=True))), 0
    chance = exact.physical * exact.logical / exact.clicked if exact.clicked > 0.0 else 0.0
    accepted, shots = draw_accepted(rng, min(1.0, chance), setting.max_samples, setting.max_shots)
    numbers = rng.multinomial(accepted, exact.p) if accepted else np.zeros(len(exact.p), dtype=np.int64)
    seen = np.flatnonzero(numbers)
    if command == "samples":
        order = rng.permutation(np.repeat(seen, numbers[seen]))  # samples come in no order
        return pcvl.BSSamples([exact.states[i] for i in order]), shots
    counts = pcvl.BSCount()
    for i in seen:
        counts[exact.states[i]] = int(numbers[i])
    return counts, shots


def draw_accepted(rng: np.random.Generator, chance: float, max_samples: int, max_shots: int) -> tuple[int, int]:
    """How many samples a job gets and how many shots it takes: the first limit that is reached ends it.

    :param chance: probability that a shot is accepted.
    :returns: accepted samples and shots used.

    >>> draw_accepted(np.random.default_rng(1), 1.0, 300, 500)
    (300, 300)
    """
    accepted = int(rng.binomial(max_shots, chance))
    if accepted < max_samples:
        return accepted, max_shots
    # The accepted shots lie anywhere among all shots: the last one needed is an order statistic, whose place among
    # the rejected shots is a Beta mixture of binomials.
    share = rng.beta(max_samples, accepted - max_samples + 1)
    return max_samples, max_samples + int(rng.binomial(max_shots - accepted, share))
