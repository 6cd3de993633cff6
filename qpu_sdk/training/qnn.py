"""The photonic side of training: phases in, measured joint probabilities out, every setting counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray
from ..devices.base import Device, DeviceSpec
from ..devices.budget import Cost
from ..devices.journal import Journal
from ..devices.sending import Terms
from ..generator.factors import multiplied_out
from ..layer.estimator import Mitigation
from ..layer.exact import conditional_probabilities
from ..layer.measuring import QNN, Measurement, Measuring
from ..mitigation.distribution import Distribution
from ..photonics.autograd import identifiable_phases
from ..photonics.program import Program
from ..seeds import child_seed
from .config import RunConfig


@final
class QNNBank:
    """All QNNs of a run.

    :param qnns: at least two circuits.
    :param devices: one open device for every name that a QNN uses; QNNs of one device share its jobs.
    :param journal: of the run; one in memory unless given.
    :param mitigation: how counts become distributions; post-selection unless given.
    :param timeout_s: how long to wait for jobs that outlive this process, ``None`` for as long as it takes.
    """

    def __init__(
        self,
        qnns: Sequence[QNN],
        devices: Mapping[str, Device],
        *,
        journal: Journal | None = None,
        terms: Callable[[DeviceSpec], Terms] = lambda spec: Terms(),
        mitigation: Mitigation | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.qnns = tuple(qnns)
        self.journal = journal if journal is not None else Journal(None).__enter__()
        self._cuts = np.cumsum([q.mesh.declared for q in self.qnns])[:-1]  # np.split wants the inner borders alone
        self.mitigation = mitigation if mitigation is not None else Mitigation({}, "post-select", 0, {})
        self._measuring = Measuring(
            devices, journal=self.journal, terms=terms, mitigation=self.mitigation, timeout_s=timeout_s
        )

    @classmethod
    def of(
        cls,
        config: RunConfig,
        devices: Mapping[str, Device],
        *,
        journal: Journal | None = None,
        label: str = "qpu-sdk",
        mitigation: Mitigation | None = None,
        timeout_s: float | None = None,
    ) -> QNNBank:
        """The QNNs of a configuration, under its budget.

        :param label: first part of the names of jobs.
        :param mitigation: how counts become distributions; post-selection unless given.
        """

        def terms(spec: DeviceSpec) -> Terms:
            return Terms(label=label, budget=config.budget.limits, rates=config.budget.rates(spec))

        qnns = qnns_of(config)
        return cls(qnns, devices, journal=journal, terms=terms, mitigation=mitigation, timeout_s=timeout_s)

    @property
    def spent(self) -> Cost:
        """What the run has spent or reserved so far."""
        return self.journal.total()

    @property
    def declared(self) -> int:
        """Length of the joint phase vector."""
        return sum(q.mesh.declared for q in self.qnns)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Outcomes of each QNN."""
        return tuple(q.outcomes for q in self.qnns)

    @property
    def joint_outcomes(self) -> int:
        """Entries of the joint p."""
        return math.prod(self.sizes)

    def initial_phases(self, *, seed: int) -> FloatArray:
        """Uniform in [0, 2 pi), ``(declared,)``, as published."""
        return np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, self.declared)

    def identifiable(self, *, seed: int) -> int:
        """Phases that the measured distributions can tell apart, summed over the QNNs."""
        return sum(
            identifiable_phases(q.mesh, q.input_modes, seed=child_seed(seed, i)) for i, q in enumerate(self.qnns)
        )

    def measure(self, phases: FloatArray, *, shots: int, tag: str) -> list[list[Distribution]]:
        """Measure every QNN at several phase vectors: one job a device, all devices at once.

        :param phases: radians, ``(R, declared)``.
        :returns: R lists with a distribution for each QNN.
        :raises MitigationError: when a setting saw no collision-free event, or not what the method needs.
        :raises JobTimeout: when jobs that outlive this process are not done in time.
        """
        settings = [
            Measurement(qnn.device, Program(qnn.mesh, own, qnn.input_modes), f"{tag}, setting {r} of qnn {i}")
            for r, vector in enumerate(phases)
            for i, (qnn, own) in enumerate(zip(self.qnns, np.split(vector, self._cuts), strict=True))
        ]
        found = iter(self._measuring.measure(settings, shots=shots, tag=tag))
        return [[next(found) for _ in self.qnns] for _ in phases]

    def exact(self, phases: Tensor) -> Tensor:
        """The joint p of the ideal circuits, differentiable; no device is asked.

        :param phases: radians, float64, ``(declared,)``.
        """
        parts = torch.split(phases, [q.mesh.declared for q in self.qnns])
        own = zip(parts, self.qnns, strict=True)
        # float32, as the networks are
        return joint([conditional_probabilities(x, qnn.mesh, qnn.input_modes) for x, qnn in own]).float()


def qnns_of(config: RunConfig) -> tuple[QNN, ...]:
    """The circuits that a configuration describes, without opening a device."""
    return tuple(QNN(q.open_mesh(), q.inputs, config.device_of(i)) for i, q in enumerate(config.qnn))


def joint(distributions: Sequence[Tensor]) -> Tensor:
    """Outer product of distributions, each scaled to mean 1: i = K2 a + b for two, ``(prod K,)``.

    The scale is the published one (each vector divided by its mean).
    """
    return multiplied_out([q * len(q) for q in distributions])


def joint_measured(distributions: Sequence[Distribution]) -> Tensor:
    """:func:`joint` of measured distributions, float32.

    :returns: ``(prod K,)``.
    """
    return joint([torch.from_numpy(d.probabilities) for d in distributions]).float()


def joint_error(distributions: Sequence[Distribution]) -> float:
    """Relative standard error of the joint p, from the standard errors of its factors.

    To first order the relative variances of the factors add. The mean over outcomes is weighted by their
    probability, sum_a p_a (sigma_a / p_a)^2 for each QNN, so that outcomes never seen do not count.
    """
    variance = 0.0
    for d in distributions:
        seen = d.probabilities > 0
        p, error = d.probabilities[seen], d.standard_errors[seen]
        variance += float((error**2 / p).sum())
    return float(variance**0.5)
