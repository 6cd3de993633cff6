"""Detectors in Perceval's objects and in ours: efficiencies by mode, and what they resolve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import ConfigError
from .counts import MOST_WIRES, Detector, wires

if TYPE_CHECKING:
    import perceval


def click_chances(photons: int, wire_number: int | None) -> FloatArray:
    """P(c | k): that k detected photons are c clicks, ``[c, k]``, ``(photons + 1, photons + 1)``.

    Each photon falls on one of W wires, all alike, so that ``P(c | k) = S(k, c) W! / ((W - c)! W^k)`` with Stirling
    numbers of the second kind: interleaved detectors, Perceval's ``Detector.ppnr``. W = 1 is a threshold detector,
    W = None counts.

    >>> click_chances(3, 5)[:, 3].round(2).tolist()
    [0.0, 0.04, 0.48, 0.48]
    """
    if wire_number is None:
        return np.eye(photons + 1)
    out = np.zeros((photons + 1, photons + 1))
    out[0, 0] = 1.0
    hit = np.minimum(np.arange(photons + 1) / wire_number, 1.0)  # share of the wires that clicked already
    for k in range(photons):  # photon by photon: sums of positive numbers, without factorials
        out[:, k + 1] = hit * out[:, k]
        out[1:, k + 1] += (1.0 - hit[:-1]) * out[:-1, k]
    return out


def detectors_to_perceval(efficiencies: npt.ArrayLike, detector: Detector) -> list[perceval.Detector]:
    """One ``perceval.Detector`` a mode, with as many wires as ours.

    Perceval counts efficiency by wire; a photon falls on one wire, so it is eta of the mode.

    :param efficiencies: eta_i, ``(M,)``, above 0: Perceval has no detector that sees nothing.
    :raises ConfigError: when an efficiency is not above 0 and at most 1.

    >>> [(d.max_detections, d.efficiency) for d in detectors_to_perceval([1.0, 0.9], "threshold")]
    [(1, 1.0), (1, 0.9)]
    """
    import perceval as pcvl

    values = np.asarray(efficiencies, dtype=np.float64)
    if values.ndim != 1 or not ((values > 0.0) & (values <= 1.0)).all():
        raise ConfigError(f"efficiencies are {values.tolist()}; Perceval takes 0 < efficiency <= 1, one a mode.")
    number = wires(detector)
    if number is None:
        found = [pcvl.Detector.pnr() for _ in values]
    else:
        found = [pcvl.Detector.threshold() if number == 1 else pcvl.Detector.ppnr(number) for _ in values]
    for one, value in zip(found, values, strict=True):
        # set afterwards: not all of its factories take one
        one.efficiency = float(value)
    return found


def efficiencies_from_perceval(detectors: Sequence[perceval.Detector | None]) -> tuple[FloatArray, Detector]:
    """Efficiencies ``(M,)`` and kind of a list such as ``experiment.detectors``; None is a perfect one that counts.

    :raises ConfigError: for other detectors than threshold, number-resolving and interleaved ones that show every
        click, or several kinds at once.

    >>> import perceval as pcvl
    >>> efficiencies_from_perceval([pcvl.Detector.ppnr(4)])[1]
    'ppnr:4'
    """
    kinds = [_kind(found, mode) for mode, found in enumerate(detectors)]
    if len(set(kinds)) > 1:
        raise ConfigError(f"some detectors are {kinds[0]} and some not. Use one kind.")
    values = np.array([1.0 if found is None else found.efficiency for found in detectors])
    return values, kinds[0] if kinds else "pnr"


def _kind(found: perceval.Detector | None, mode: int) -> Detector:
    import perceval as pcvl

    if found is None:
        return "pnr"
    if not isinstance(found, pcvl.Detector):
        raise ConfigError(
            f"detector of mode {mode} is {found.name}. Use threshold, number-resolving or PPNR detectors."
        )
    most, number = found.max_detections, found._wires  # nothing public tells the wires
    if most == 1:  # whatever its wires, more than one photon is one click
        return "threshold"
    if most != number:
        raise ConfigError(
            f"detector of mode {mode} shows at most {most} clicks of {number or 'any number of'} wires. "
            "Leave max_detections out."
        )
    if number is not None and number > MOST_WIRES:
        raise ConfigError(f"detector of mode {mode} has {number} wires; {MOST_WIRES} are modelled. Use Detector.pnr().")
    return "pnr" if number is None else f"ppnr:{number}"
