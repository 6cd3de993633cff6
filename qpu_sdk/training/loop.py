"""The training loop: a fixed list of units of work, and a state that is complete after each of them.

Each round measures p once, trains the generator on it, and takes SPSA steps on the phases with the generator
frozen; at the end comes one longer measurement and a last fit of the generator to exactly that p, so that the
exported weights are what was measured. Randomness depends on seed and unit alone, so a run that is stopped
after any unit and resumed gives the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from ..generator.mps import Generator
from ..mitigation.distribution import Distribution
from ..mitigation.selection import post_select
from ..seeds import child_seed
from ..statistics import total_variation
from .config import RunConfig
from .data import Dataset
from .fit import Batches, Fitter, check_fit
from .optimiser import Adam
from .qnn import QNNBank, joint_error, joint_measured
from .schedule import Unit, check_budget, open_spsa, schedule, schedule_epochs
from .spsa import SPSAState
from .targets import Target


@final
@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on: named tensors, and JSON values."""

    unit: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


Row = dict[str, Any]


@final
class Training:
    """A run in progress.

    :param config: the resolved configuration.
    :param dataset: images; the test part is not looked at here.
    :param target: the network whose weights are generated.
    :param generator: a fresh generator for that target.
    :param bank: the QNNs.
    :raises ConfigError: when the joint outcomes are fewer than the target needs.
    :raises DataError: when a label is beyond the target's classes.
    """

    def __init__(
        self, config: RunConfig, *, dataset: Dataset, target: Target, generator: Generator, bank: QNNBank
    ) -> None:
        check_budget(config)
        self.config, self.bank = config, bank
        self.batches = Batches.of(dataset, seed=config.seed)
        self.target, self.generator = target, generator
        self.units = schedule(config)
        self.done = 0
        self.p = torch.zeros(bank.joint_outcomes)
        #: The same without mitigation.
        self.p_before = torch.zeros(bank.joint_outcomes)
        #: What the row of the last measurement says.
        self.measured: Row = {"samples": []}
        self._check(dataset)
        self.fitter = Fitter(
            generator,
            target,
            config.training,
            total_epochs=schedule_epochs(config),
            steps_per_epoch=math.ceil(len(self.batches.labels) / config.training.batch_size),
        )
        self.spsa = open_spsa(config)
        phases = bank.initial_phases(seed=child_seed(config.seed, "phases"))
        self.phases: SPSAState = self.spsa.init(phases, seed=child_seed(config.seed, "spsa"))
        self._warm = torch.from_numpy(phases.copy())
        self._warm_adam = Adam([self._warm])
        self._best: dict[str, Tensor] = {}
        self._best_loss = math.inf
        self._epoch = 0
        self._wall_s = 0.0

    def _check(self, dataset: Dataset) -> None:
        if self.bank.joint_outcomes < self.generator.outcomes_needed:
            raise ConfigError(
                f"the target has {self.target.size} weights and needs {self.generator.outcomes_needed} joint outcomes; "
                f"the QNNs have {self.bank.joint_outcomes}. Use more modes or photons, or another QNN."
            )
        check_fit(self.target, self.batches.images, dataset)

    # -- running -------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """True when every unit is done."""
        return self.done == len(self.units)

    def run(self) -> Iterator[tuple[Unit, Row]]:
        """Do the remaining units; after each, give what it did. The state is complete at every yield."""
        while not self.finished:
            unit = self.units[self.done]
            begun = time.perf_counter()
            row = self._do(unit)
            self._wall_s += time.perf_counter() - begun
            self.done += 1
            spent = self.bank.spent
            yield (
                unit,
                {
                    "unit": self.done,
                    "kind": unit.kind,
                    "round": unit.round,
                    **row,
                    "circuit_settings": spent.settings,
                    "shots": spent.shots,
                    "jobs": spent.jobs,
                    "wall_s": round(self._wall_s, 3),
                },
            )

    @property
    def wall_s(self) -> float:
        """Seconds spent in units, over all sessions of the run."""
        return self._wall_s

    def _do(self, unit: Unit) -> Row:
        match unit.kind:
            case "trial":
                return self._trial(unit)
            case "warm-start":
                return self._warm_start()
            case "measure":
                return self._measure(unit)
            case "fit":
                return self._fit()
            case "spsa":
                return self._spsa(unit)

    def _trial(self, unit: Unit) -> Row:
        """One epoch of one of several independent warm starts; the one with the lowest training loss goes on."""
        training, trial = self.config.training, unit.round
        if unit.index == 0 and trial > 0:
            self._epoch = 0
            self.fitter.reset(seed=child_seed(self.config.seed, "generator", trial))
            phases = self.bank.initial_phases(seed=child_seed(self.config.seed, "phases", trial))
            self._warm.copy_(torch.from_numpy(phases))
            self._warm_adam = Adam([self._warm])
        row = self._warm_start()
        if unit.index == training.trial_epochs - 1:
            if row["loss"] < self._best_loss:
                self._best_loss = row["loss"]
                self._best = {name: tensor.clone() for name, tensor in self._learnt().items()}
            if trial == training.trials - 1:
                self._relearn(self._best, step=self.fitter.step)
                self.phases = self.spsa.init(self._warm.numpy().copy(), seed=self.phases.seed)
                self._best = {}
        return row | {"trial": trial}

    def _learnt(self) -> dict[str, Tensor]:
        """What gradient steps have changed."""
        warm = {f"warm.{n}": t for n, t in self._warm_adam.tensors().items()} | {"warm.phases": self._warm}
        return {name: tensor.detach() for name, tensor in (self.fitter.tensors() | warm).items()}

    def _relearn(self, tensors: Mapping[str, Tensor], *, step: int) -> None:
        """Set what :meth:`_learnt` gave."""
        self.fitter.restore(tensors, step=step)
        self._warm.copy_(tensors["warm.phases"])
        self._warm_adam.restore(_under("warm.", tensors))

    def _warm_start(self) -> Row:
        """One epoch of exact gradients on the simulator, of phases and generator together."""
        phases, loss, correct, seen = self._warm, 0.0, 0, 0
        for images, labels in self.batches.epoch(self._epoch, self.config.training.batch_size):
            phases.requires_grad_(True)
            objective, logits = self.fitter.objective(self.bank.exact(phases), images, labels)
            own, *rest = torch.autograd.grad(objective, [phases, *self.generator.parameters()])
            phases.requires_grad_(False)
            shrunk = self.fitter.rate(self.fitter.step) / self.config.training.lr  # one schedule for both
            self._warm_adam.step([own], self.config.training.warm_start_lr * shrunk)
            self.fitter.apply(rest)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(dim=1) == labels).sum())
            seen += len(labels)
        self._epoch += 1
        self.phases = self.spsa.init(phases.numpy().copy(), seed=self.phases.seed)
        return {"loss": loss / seen, "accuracy": correct / seen, "epoch": self._epoch}

    def _measure(self, unit: Unit) -> Row:
        """One setting a QNN at the present phases: the p that the following epochs see."""
        final = unit.round == self.config.training.rounds
        shots = self.config.training.final_shots if final else self.config.training.shots
        [measured] = self.bank.measure(self.phases.x[None], shots=shots, tag=f"measure/{unit.round}")
        before = [d if d.raw is None else post_select(d.raw) for d in measured]
        self.p, self.p_before = joint_measured(measured), joint_measured(before)
        self.measured = _figures(measured, before)
        return self.measured

    def _fit(self) -> Row:
        """One epoch of the generator on the frozen p."""
        result = self.fitter.run_epoch(self.batches, self._epoch, self.p)
        self._epoch += 1
        return {"loss": result.loss, "accuracy": result.accuracy, "lr": result.lr, "epoch": self._epoch}

    def _spsa(self, unit: Unit) -> Row:
        """One SPSA step on the phases: generator frozen, one minibatch for both signs, one job a device."""
        if unit.index == 0:  # the generator moved, so the loss that blocking remembers is of another function
            self.phases = self.spsa.forget_loss(self.phases)
        plus, minus = self.spsa.ask(self.phases)
        measured = self.bank.measure(
            np.concatenate([plus, minus]), shots=self.config.spsa.shots, tag=f"spsa/{unit.round}/{unit.index}"
        )
        images, labels = self.batches.sample(self.config.spsa.images, unit.round)
        losses = np.array([self._loss(joint_measured(d), images, labels) for d in measured])
        self.phases = self.spsa.tell(self.phases, losses[: len(plus)], losses[len(plus) :])
        return {
            "loss": float(losses.mean()),
            "difference": float(losses[: len(plus)].mean() - losses[len(plus) :].mean()),
            "p_error": float(np.mean([joint_error(d) for d in measured])),
        }

    def _loss(self, p: Tensor, images: Tensor, labels: Tensor) -> float:
        with torch.no_grad():
            return float(F.cross_entropy(self.target.logits(self.fitter.weights(p), images), labels))

    # -- state ---------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """A copy of the whole state, after the last finished unit."""
        s = self.phases
        vectors = {"x": s.x, "m": s.m, "v": s.v, "previous": s.previous}
        tensors = self._learnt() | {f"spsa.{n}": torch.from_numpy(v) for n, v in vectors.items()}
        tensors |= {"p": self.p, "p_before": self.p_before}
        tensors |= {f"best.{n}": t for n, t in self._best.items()}
        values = {
            "epoch": self._epoch,
            "step": self.fitter.step,
            "wall_s": self._wall_s,
            "best_loss": self._best_loss if self._best else None,
            "measured": self.measured,
            "spsa": {"seed": s.seed, "k": s.k, "a": s.a, "loss": s.loss, "spread": s.spread},
        }
        return Checkpoint(self.done, {name: tensor.detach().clone() for name, tensor in tensors.items()}, values)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of the same configuration."""
        tensors, values = checkpoint.tensors, checkpoint.values
        self._relearn(tensors, step=int(values["step"]))
        self._best, best_loss = _under("best.", tensors), values["best_loss"]
        self._best_loss = math.inf if best_loss is None else float(best_loss)
        x, m, v, previous = (tensors[f"spsa.{n}"].numpy().copy() for n in ("x", "m", "v", "previous"))
        self.phases = SPSAState(x=x, m=m, v=v, previous=previous, **values["spsa"])
        self.p = tensors["p"].clone()
        self.p_before = tensors.get("p_before", self.p).clone()  # older checkpoints have one p
        self.measured = dict(values["measured"]) if "measured" in values else {"samples": values["samples"]}
        self._epoch, self._wall_s, self.done = int(values["epoch"]), float(values["wall_s"]), checkpoint.unit


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


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
