"""Run programs on a device once, and keep their counts: through a journal, so that nothing is paid twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ..arrays import real, whole
from ..errors import BudgetExceeded, DataError, ProgramError
from ..files import write_new
from ..photonics.counts import Counts
from ..photonics.inputs import Inputs
from ..photonics.meshes import open_mesh
from ..photonics.program import Program
from ..seeds import child_seed
from .base import MOST_SHOTS, DeviceSpec
from .budget import Budget, Cost, with_credits_option
from .journal import Journal
from .journalled import JournalledDevice
from .pending import pending_journal
from .registry import open_device
from .sending import Terms

#: Most random programs at once.
MOST_PROGRAMS = 10_000


@final
@dataclass(frozen=True)
class ProgramsRequest:
    """What to run.

    :param device: as configurations name it.
    :param shots: of each program.
    :param seed: of a simulator.
    :param out: file of counts, which must not be there.
    :param credits: most that may be spent, None for no limit.
    """

    device: str
    shots: int
    seed: int
    out: Path
    credits: float | None = None


def run_programs(programs: Sequence[Program], request: ProgramsRequest) -> list[Counts]:
    """Run programs and write their counts, one JSON a line, in the order in which each program is first named.

    What was interrupted goes on with the same request: its journal lies beside the counts until these are written. A
    program that is named several times is measured once, as the journal cannot tell a repetition from what it knows.

    :raises DataError: when the file is there already, or cannot be written.
    :raises ProgramError: when a program does not fit the device; like the next, before anything is sent.
    :raises BudgetExceeded: when it would cost more.
    """
    if not programs:
        raise DataError("there is no program to run. Name a file of programs, or --random.")
    shots = whole(request.shots, "shots", ProgramError, least=1, most=MOST_SHOTS)
    credits = None if request.credits is None else real(request.credits, "credits", ProgramError, least=0.0)
    if request.out.exists():
        raise DataError(f"{request.out} is there already, and counts are never written over. Choose another --out.")
    device = open_device(request.device, seed=request.seed)
    spec, apart = device.spec, list({program.fingerprint: program for program in programs}.values())
    # What the device is like counts too: one name may stand for another machine by tomorrow.
    like = (spec.noise, spec.detector, spec.architecture_hash)
    asked = (spec.name, shots, request.seed, tuple(program.fingerprint for program in apart), *like)
    with pending_journal(device, request.out.parent, "run", asked) as journal:
        terms = Terms("run", Budget(credits=credits), spec.rates)  # what is known or open is not sent again
        try:
            # All jobs together: the journal alone would stop before the last of them, with the others paid.
            terms.budget.check(journal.total(), _still_to_pay(journal, spec, apart, shots))
            counts = JournalledDevice(device, journal, terms).submit(apart, shots=shots, tag="run").result()
        except BudgetExceeded as error:
            raise with_credits_option(error, "--credits ") from None
        write_lines(request.out, [one.to_json() for one in counts])
    return counts


def _still_to_pay(journal: Journal, spec: DeviceSpec, programs: Sequence[Program], shots: int) -> Cost:
    """What the settings take that were neither measured nor are on their way."""
    flying = {f for job in journal.open_jobs(spec.name, shots_each=shots) for f in job.programs}
    prints = [program.fingerprint for program in programs if program.fingerprint not in flying]
    missing = sum(journal.counts(spec.name, one, shots_each=shots) is None for one in prints)
    return spec.rates.cost(settings=missing, shots=shots)


def random_programs(
    mesh: str, *, modes: int, photons: int, inputs: Inputs | None = None, number: int, seed: int
) -> list[Program]:
    """Programs with phases uniform in [0, 2 pi), of a mesh by its name.

    :param inputs: the mesh's own unless given.
    :raises ProgramError: when the mesh is unknown, or photons do not fit.

    >>> [program.modes for program in random_programs("rectangular", modes=4, photons=2, number=2, seed=1)]
    [4, 4]
    """
    count = whole(number, "the number of programs", ProgramError, least=1, most=MOST_PROGRAMS)
    opened = open_mesh(mesh, modes=modes, photons=photons)
    seeds = [child_seed(whole(seed, "seed", ProgramError, least=0), "random programs", k) for k in range(count)]
    return [Program.random(opened, inputs, photons=None if inputs is not None else photons, seed=one) for one in seeds]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a new file whole or not at all.

    :raises DataError: when it cannot be written, or is there already.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, "".join(f"{line}\n" for line in lines))
    except FileExistsError as error:
        raise DataError(f"{path} is there already, and is never written over. Choose another file.") from error
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error}). Choose another file.") from error
