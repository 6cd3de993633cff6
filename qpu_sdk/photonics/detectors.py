"""Detectors in Perceval's objects and in ours: efficiencies by mode, and what they resolve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import ConfigError
from .counts import Detector

if TYPE_CHECKING:
    import perceval


def detectors_to_perceval(efficiencies: npt.ArrayLike, detector: Detector) -> list[perceval.Detector]:
    """One ``perceval.Detector`` a mode: threshold detectors have one wire, number-resolving ones any number.

    Perceval counts efficiency by wire; with one wire, or so many that no two photons meet, it is eta of the mode.

    :param efficiencies: eta_i, ``(M,)``, above 0: Perceval has no detector that sees nothing.
    :raises ConfigError: when an efficiency is not above 0 and at most 1.

    >>> [(d.max_detections, d.efficiency) for d in detectors_to_perceval([1.0, 0.9], "threshold")]
    [(1, 1.0), (1, 0.9)]
    """
    import perceval as pcvl

    values = np.asarray(efficiencies, dtype=np.float64)
    if values.ndim != 1 or not ((values > 0.0) & (values <= 1.0)).all():
        raise ConfigError(f"efficiencies are {values.tolist()}; Perceval takes 0 < efficiency <= 1, one a mode.")
    found = [pcvl.Detector.threshold() if detector == "threshold" else pcvl.Detector.pnr() for _ in values]
    for one, value in zip(found, values, strict=True):
        # set afterwards: its factories take none
        one.efficiency = float(value)
    return found


def efficiencies_from_perceval(detectors: Sequence[perceval.Detector | None]) -> tuple[FloatArray, Detector]:
    """Efficiencies ``(M,)`` and kind of a list such as ``experiment.detectors``; None is a perfect one that counts.

    :raises ConfigError: for other detectors than threshold and number-resolving, or both kinds at once.
    """
    import perceval as pcvl

    kinds: set[Detector] = set()
    for mode, found in enumerate(detectors):
        if found is not None and (not isinstance(found, pcvl.Detector) or found.max_detections not in (None, 1)):
            raise ConfigError(f"detector of mode {mode} is {found.name}. Use threshold or number-resolving detectors.")
        kinds.add("pnr" if found is None or found.max_detections is None else "threshold")
    if len(kinds) > 1:
        raise ConfigError("some detectors count photons and some do not. Use one kind.")
    values = np.array([1.0 if found is None else found.efficiency for found in detectors])
    return values, kinds.pop() if kinds else "pnr"
