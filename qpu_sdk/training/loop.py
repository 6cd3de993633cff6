"""The training loop: a fixed list of units of work, folded over a state that is complete after each of them.

Each round measures p once, trains the generator on it, and takes SPSA steps on the phases with the generator
frozen; at the end comes one longer measurement and a last fit of the generator to exactly that p, so that the
exported weights are what was measured. Randomness depends on seed and unit alone, so a run that is stopped
after any unit and resumed gives the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray
from ..errors import ConfigError
from ..generator.mps import Generator
from ..mitigation.distribution import Distribution
from ..mitigation.selection import post_select
from ..seeds import child_seed
from ..statistics import total_variation
from .accelerator import CPU, on_device, open_accelerator
from .batches import Batches
from .config import RunConfig, TrainingConfig
from .data import Dataset
from .evaluation import check_fit, check_learns
from .fit import (
    Diverged,
    FitState,
    Fitter,
    check_finite,
    clones,
    diverging,
    epoch_figures,
    gradients_of,
    one_pass,
    trial_seed,
)
from .losses import Loss, open_loss
from .optimiser import NamedTensors, Optimiser, open_optimiser
from .qnn import QNNBank, joint_error, joint_measured
from .schedule import Schedule, Unit, open_spsa
from .spsa import SPSA, SPSAState
from .targets import Target

Row = dict[str, Any]

#: Of Adam for the phases in epochs of exact gradients.
EXACT_BETA2 = 0.999
#: What to lower when the warm start diverges.
_WARM_KEYS = "training.lr or training.warm_start_lr, or clip with training.clip"


@final
@dataclass(frozen=True, eq=False)
class Learnt:
    """What steps of training change.

    :param fit: the generator and its optimiser.
    :param adam: moments of the phases' exact gradients, by name.
    :param spsa: the phases, and where SPSA stands.
    """

    fit: FitState
    adam: NamedTensors = field(repr=False)
    spsa: SPSAState


@final
@dataclass(frozen=True, eq=False)
class TrainingState:
    """All that a run knows after ``done`` units: a checkpoint is this value, and no step changes it.

    :param p: joint distribution measured last, ``(K,)`` float32; zeros before the first measurement.
    :param p_before: the same without mitigation, ``(K,)``.
    :param measured: what the row of that measurement says.
    :param epoch: passes over the training images behind what is learnt.
    :param best: the trial with the lowest loss so far, while there are trials.
    :param best_loss: of its last epoch.
    :param wall_s: seconds spent in units, over all sessions of the run.
    """

    done: int
    learnt: Learnt
    p: Tensor = field(repr=False)
    p_before: Tensor = field(repr=False)
    measured: Mapping[str, Any]
    epoch: int = 0
    best: Learnt | None = None
    best_loss: float = math.inf
    wall_s: float = 0.0


@final
@dataclass(frozen=True, eq=False)
class Training:
    """A run as a function from state to state, ``state, row = training.step(state, unit)``; nothing in it changes.

    :param seed: of everything random.
    :param spsa_images: training images behind each loss that SPSA compares.
    :param exact: of the phases in epochs of exact gradients.
    """

    seed: int
    config: TrainingConfig
    schedule: Schedule
    spsa: SPSA
    spsa_images: int
    batches: Batches
    fitter: Fitter
    bank: QNNBank
    exact: Optimiser

    @classmethod
    def of(
        cls,
        config: RunConfig,
        schedule: Schedule,
        *,
        dataset: Dataset,
        target: Target,
        generator: Generator,
        bank: QNNBank,
    ) -> Training:
        """The training that a configuration describes.

        :param dataset: images; the test part is not looked at here.
        :param generator: for that target; what its parameters are does not matter.
        :raises ConfigError: see :func:`check_network`.
        """
        outcomes = bank.joint_outcomes
        loss = check_network(config.training, dataset, target, generator, outcomes=outcomes)
        batches = Batches.of(dataset, seed=config.seed, shift=config.training.augment_shift)
        steps = math.ceil(len(batches.labels) / config.training.batch_size)  # a smaller last batch is a step too
        seed, device = child_seed(config.seed, "steps"), open_accelerator(config.training.accelerator)
        fitter = Fitter(generator, target, config.training, schedule.epochs, steps, seed, loss, device)
        spsa = open_spsa(config.spsa, rounds=config.training.rounds)
        name = config.warm_start_optimiser
        exact = open_optimiser(name, beta2=EXACT_BETA2 if name == "adam" else config.training.beta2)
        return cls(config.seed, config.training, schedule, spsa, config.spsa.images, batches, fitter, bank, exact)

    @property
    def target(self) -> Target:
        """The network whose weights are generated."""
        return self.fitter.target

    def init(self) -> TrainingState:
        """The state before the first unit.

        :raises ConfigError: when the optimiser does not take so many parameters.
        """
        p = torch.zeros(self.bank.joint_outcomes)  # nothing is fitted to it: a measurement comes before any fit
        return TrainingState(0, self._fresh(0), p, p, {"samples": []})

    def step(self, state: TrainingState, unit: Unit) -> tuple[TrainingState, Row]:
        """Do one unit: the state after it, and what it has to say; ``state`` itself stays as it was.

        The journal knows what devices were asked, so that the same step from the same state asks nothing twice.

        :raises MitigationError: when a setting saw too few events.
        :raises JobTimeout: when jobs that outlive this process are not done in time.
        """
        state, row = self._do(replace(state, done=state.done + 1), unit)
        spent = self.bank.spent
        asked = {"circuit_settings": spent.settings, "shots": spent.shots, "jobs": spent.jobs}
        return state, {"unit": state.done, "kind": unit.kind, "round": unit.round, **row, **asked}

    def run(self, state: TrainingState, *, until: int | None = None) -> Iterator[tuple[TrainingState, Row]]:
        """Do the units that ``state`` has not seen: after each the state, with the seconds it took, and its row.

        :param until: units of the schedule, from its first, that are to be done; None for all.
        """
        for unit in self.schedule.units[state.done : until]:
            begun = time.perf_counter()
            state, row = self.step(state, unit)
            state = replace(state, wall_s=state.wall_s + time.perf_counter() - begun)
            yield state, row | {"wall_s": round(state.wall_s, 3)}

    def weights(self, state: TrainingState, p: Tensor) -> Tensor:
        """What the generator makes of a p, without gradient, ``(target.size,)``."""
        return self.fitter.weights(state.learnt.fit, p)

    def settled(self, weights: Tensor) -> Target:
        """The network as it leaves with these weights, ``(target.size,)``: see :meth:`Target.settled`."""
        return self.target.settled(weights, self.batches.images)

    # -- units ---------------------------------------------------------------------------------------------

    def _do(self, state: TrainingState, unit: Unit) -> tuple[TrainingState, Row]:
        match unit.kind:
            case "trial":
                return self._trial(state, unit)
            case "warm-start":
                return self._warm_start(state)
            case "measure":
                return self._measure(state, unit)
            case "fit":
                return self._fit(state)
            case "spsa":
                return self._spsa(state, unit)

    def _fresh(self, trial: int) -> Learnt:
        """Where a trial starts; without trials there is but the first."""
        phases = self.bank.initial_phases(seed=trial_seed(self.seed, "phases", trial))
        return Learnt(
            self.fitter.init(seed=trial_seed(self.seed, "generator", trial)),
            self.exact.init([torch.from_numpy(phases)]),
            self._fresh_spsa(phases),
        )

    def _fresh_spsa(self, phases: FloatArray) -> SPSAState:
        return self.spsa.init(phases, seed=child_seed(self.seed, "spsa"))

    def warmed(self, state: TrainingState) -> TrainingState:
        """The state after another run's warm start as this run's own, which has an SPSA of its own."""
        return replace(state, learnt=replace(state.learnt, spsa=self._fresh_spsa(state.learnt.spsa.x)))

    def _trial(self, state: TrainingState, unit: Unit) -> tuple[TrainingState, Row]:
        """One epoch of one of several independent warm starts; the one with the lowest training loss goes on."""
        trial, last = unit.round, unit.index == self.config.trial_epochs - 1
        if unit.index == 0:
            state = replace(state, learnt=self._fresh(trial), epoch=0)  # epoch 0: every trial sees the same batches
        try:
            state, row = self._warm_start(state)
        except Diverged:  # the others may not; at its last epoch it stands where it did, and is not chosen
            row = {**epoch_figures(math.nan, 0.0 if self.fitter.loss.classes else None), "epoch": state.epoch}
        if last and row["loss"] < state.best_loss:  # NaN is below nothing
            state = replace(state, best=state.learnt, best_loss=row["loss"])
        if last and trial == self.config.trials - 1:
            if state.best is None:
                raise ConfigError(
                    f"training diverged in all {self.config.trials} trials: the loss is {row['loss']}. "
                    f"Lower {_WARM_KEYS}."
                )
            state = replace(state, learnt=state.best, best=None, best_loss=math.inf)
        return state, row | {"trial": trial}

    def _warm_start(self, state: TrainingState) -> tuple[TrainingState, Row]:
        """One epoch of exact gradients on the simulator, of phases and generator together."""
        old, config = state.learnt, self.config
        fitter, device = self.fitter.there(), self.fitter.device
        fit = old.fit.copy().to(device)
        adam, phases = clones(old.adam), torch.from_numpy(old.spsa.x.copy())

        def step_(images: Tensor, labels: Tensor) -> Tensor:
            # Else the mesh would find fault with its phases: of these the loss is no number.
            check_finite(0.0 if bool(torch.isfinite(phases).all()) else math.nan, [])
            with gradients_of([phases, *fitter.parameters(fit)]) as variables:
                objective, logits = fitter.objective(fit, self.bank.exact(phases).to(device), images, labels)
                own, *rest = torch.autograd.grad(objective, variables)
            shrunk = fitter.rate(fit.step) / config.lr  # one schedule for both
            self.exact.step_(adam, [phases], [own], config.warm_start_lr * shrunk)
            fitter.apply_(fit, rest)
            return logits

        with diverging(f"epoch {state.epoch + 1} of the warm start", _WARM_KEYS):
            passes = on_device(self.batches.epoch(state.epoch, config.batch_size), device)
            loss, accuracy = one_pass(passes, step_, fitter.loss)
            check_finite(loss, [phases, *fitter.parameters(fit)])
        # SPSA begins anew where these phases are: its memory is of others.
        learnt = Learnt(fit.to(CPU), adam, self.spsa.init(phases.numpy(), seed=old.spsa.seed))
        state = replace(state, learnt=learnt, epoch=state.epoch + 1)
        return state, {**epoch_figures(loss, accuracy), "epoch": state.epoch}

    def _measure(self, state: TrainingState, unit: Unit) -> tuple[TrainingState, Row]:
        """One setting a QNN at the present phases: the p that the following epochs see."""
        phases = state.learnt.spsa.x[None]
        # The tag names the simulator's random stream: resumed, the same unit draws the same counts.
        [measured] = self.bank.measure(phases, shots=unit.shots, tag=f"measure/{unit.round}")
        before = [d if d.raw is None else post_select(d.raw) for d in measured]
        row = _figures(measured, before)
        return replace(state, p=joint_measured(measured), p_before=joint_measured(before), measured=row), row

    def _fit(self, state: TrainingState) -> tuple[TrainingState, Row]:
        """One epoch of the generator on the frozen p."""
        fit, result = self.fitter.run_epoch(state.learnt.fit, self.batches, state.epoch, state.p)
        state = replace(state, learnt=replace(state.learnt, fit=fit), epoch=state.epoch + 1)
        return state, {**result.figures, "lr": result.lr, "epoch": state.epoch}

    def _spsa(self, state: TrainingState, unit: Unit) -> tuple[TrainingState, Row]:
        """One SPSA step on the phases: generator frozen, one minibatch for both signs, one job a device."""
        spsa = state.learnt.spsa
        if unit.index == 0:  # the generator moved, so the loss that blocking remembers is of another function
            spsa = self.spsa.forget_loss(spsa)
        plus, minus = self.spsa.ask(spsa)
        tag = f"spsa/{unit.round}/{unit.index}"
        measured = self.bank.measure(np.concatenate([plus, minus]), shots=unit.shots, tag=tag)
        images, labels = self.batches.sample(self.spsa_images, unit.round)  # for all steps: blocking compares them
        with diverging(f"SPSA step {unit.index + 1} of round {unit.round + 1}", "training.lr, spsa.c or spsa.max_step"):
            losses = np.array([self._loss(state, joint_measured(d), images, labels) for d in measured])
            check_finite(float(losses.sum()), [])
            spsa = self.spsa.tell(spsa, losses[: len(plus)], losses[len(plus) :])
            check_finite(float(losses.mean()), [torch.from_numpy(spsa.x)])
        return replace(state, learnt=replace(state.learnt, spsa=spsa)), {
            "loss": float(losses.mean()),
            "difference": float(losses[: len(plus)].mean() - losses[len(plus) :].mean()),
            "p_error": float(np.mean([joint_error(d) for d in measured])),
        }

    def _loss(self, state: TrainingState, p: Tensor, images: Tensor, labels: Tensor) -> float:
        fitter, device = self.fitter.there(), self.fitter.device
        with torch.no_grad():
            weights = fitter.weights(state.learnt.fit.to(device), p.to(device))
            logits = fitter.target.logits(weights, images.to(device), learning=True)
            return fitter.loss.mean(logits, labels.to(device))


def check_network(
    config: TrainingConfig, dataset: Dataset, target: Target, generator: Generator, *, outcomes: int
) -> Loss:
    """Whether p is long enough, whether the target takes the images, and the loss its outputs; gives the loss.

    :param outcomes: entries of the joint p.
    :raises ConfigError: when the joint outcomes are fewer than the target needs, or the loss fails.
    :raises DataError: when a label is beyond the target's classes.
    """
    if outcomes < generator.outcomes_needed:
        raise ConfigError(
            f"the target has {target.generated} weights and needs {generator.outcomes_needed} joint outcomes; "
            f"the QNNs have {outcomes}. Use more modes or photons, or another QNN."
        )
    images = dataset.train.tensors()[0]
    loss = check_fit(target, images, dataset, open_loss(config))
    check_learns(target, images, batch_size=config.batch_size)
    return loss


def _figures(measured: Sequence[Distribution], before: Sequence[Distribution]) -> Row:
    """What a measurement came to, one entry a QNN; ``shift`` is the distance from raw to mitigated, in total variation.

    Numbers that are not finite, as effective samples of a certain outcome, are None.
    """
    return {
        "samples": [d.samples for d in measured],
        "p_error": joint_error(measured),
        "effective_samples": [
            round(d.effective_samples, 1) if math.isfinite(d.effective_samples) else None for d in measured
        ],
        "overhead": [round(d.overhead, 4) for d in measured],
        "methods": [d.method for d in measured],
        "shift": [total_variation(d.probabilities, b.probabilities) for d, b in zip(measured, before, strict=True)],
    }
