"""What a comparison asks, and what it found, program by program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from .programs import ProgramKind


@final
@dataclass(frozen=True)
class Trial:
    """One estimate of one program.

    :param method: ``raw``, ``ours``, ``ours: METHOD``, or a preset of Perceval.
    :param settings: circuit settings that were run.
    :param events: collision-free N-click events of the program itself.
    :param tvd: total variation distance to the truth; None where the method gave no estimate.
    :param floor: what so many events of a perfect device would have, on average.
    :param covered: share of the outcomes whose 95 % interval holds the truth; None without intervals.
    :param why: it gave no estimate, or which method of ours it was.
    """

    kind: ProgramKind
    number: int
    method: str
    shots: int
    settings: int
    events: int
    tvd: float | None
    floor: float
    covered: float | None
    why: str


@final
@dataclass(frozen=True)
class ComparisonRequest:
    """What a comparison measures.

    :param kinds: of programs.
    :param each: programs of every kind that has more than one.
    :param shots: of each estimate; one comparison for each number.
    :param presets: of Perceval; None for all.
    :param methods: of ours, besides ``auto``.
    :param input_modes: where photons enter; None for every input of the record.
    """

    kinds: tuple[ProgramKind, ...]
    each: int
    shots: tuple[int, ...]
    seed: int
    presets: tuple[str, ...] | None = None
    methods: tuple[str, ...] = ()
    input_modes: tuple[int, ...] | None = None


@final
@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison.

    :param calibration_settings: and shots, of the record.
    """

    device: str
    record_id: str
    calibration_settings: int
    calibration_shots: int
    request: ComparisonRequest
    trials: tuple[Trial, ...]
