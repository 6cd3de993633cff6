"""Programs from the command line: run them on any device, and keep their counts; or make random ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..words import command
from .completion import devices
from .printing import (
    BAD_INPUT,
    INTERRUPTED,
    MODES_AT_MOST,
    SHOTS_AT_MOST,
    Json,
    fail,
    parse_modes,
    print_or_json,
    tell,
    waiting,
)

if TYPE_CHECKING:
    from ..photonics.counts import Counts
    from ..rendering.text import Rows

#: Outcomes that a line of counts shows.
SHOWN = 3


def run_command(
    programs: Annotated[
        list[Path] | None, typer.Argument(help="Programs, Perceval's circuits, a .npy of unitaries, or a run's folder.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="The device, such as 'local:slos?noise=ascella'.", autocompletion=devices)
    ] = "local:slos",
    shots: Annotated[int, typer.Option(min=1, max=SHOTS_AT_MOST, help="Of each program.")] = 100_000,
    out: Annotated[Path, typer.Option(help="File of counts, one JSON a line; never written over.")] = Path(
        "counts.json"
    ),
    inputs: Annotated[str | None, typer.Option(help="Modes that photons enter, where the file does not say.")] = None,
    random: Annotated[
        str | None, typer.Option(help="Random programs of a mesh instead: isometry, rectangular or brickwall.")
    ] = None,
    modes: Annotated[int, typer.Option(min=2, max=MODES_AT_MOST, help="Of --random.")] = 6,
    photons: Annotated[int, typer.Option(min=1, help="Of --random.")] = 2,
    number: Annotated[int, typer.Option(min=1, help="Of --random: how many programs.")] = 1,
    save: Annotated[Path | None, typer.Option(help="Only write the programs to this file; run nothing.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of a simulator, and of --random.")] = 0,
    credits: Annotated[float | None, typer.Option(help="Most credits to spend.")] = None,
    json_: Json = False,
) -> None:
    """Run programs on a device, and write their counts with the programs that they are of."""
    from ..devices.program_files import load_programs
    from ..devices.run_programs import ProgramsRequest, random_programs, run_programs, write_lines

    if bool(programs) == (random is not None):
        fail("name files of programs, or make some with --random MESH; one of the two.", BAD_INPUT)
    chosen = None if inputs is None else parse_modes(inputs)
    if random is not None:
        made = random_programs(random, modes=modes, photons=photons, inputs=chosen, number=number, seed=seed)
    else:
        made = [program for path in programs or () for program in load_programs(path, inputs=chosen)]
    if save is not None:
        if save.exists():
            fail(f"{save} is there already. Choose another --save.", BAD_INPUT)
        write_lines(save, [program.to_json() for program in made])
        print_or_json(
            [("programs", f"{len(made)}"), ("written", str(save))], {"programs": len(made), "path": str(save)}, json_
        )
        return
    with waiting(f"running {len(made)} program{'s' * (len(made) > 1)} on {device}"):
        try:
            counts = run_programs(made, ProgramsRequest(device, shots, seed, out, credits))
        except KeyboardInterrupt:
            fail("interrupted. Give the same command again to go on; nothing is paid twice.", INTERRUPTED)
    tell(f"written: {out}", err=True)
    if len(counts) < len(made):
        tell(f"{len(made)} programs were named, {len(counts)} of them different: each is measured once.", err=True)
    data = {"path": str(out), "device": device, "settings": [_data(one) for one in counts]}
    print_or_json([*_rows(counts), ("next", command("mitigate", str(out), "--record", "RECORD.json"))], data, json_)


def _rows(counts: list[Counts]) -> Rows:
    """One row a setting: shots, events, and the likeliest events."""
    return [
        (f"program {one.fingerprint[:12]}", f"{one.shots:,} shots, {one.events:,} of all photons{_likeliest(one)}")
        for one in counts
    ]


def _likeliest(counts: Counts) -> str:
    """The events seen most: behind loss most shots are single clicks, which tell little of a circuit."""
    numbers = counts.numbers * (counts.outcomes.sum(axis=1) == counts.photons)
    best = [k for k in numbers.argsort(kind="stable")[::-1][:SHOWN] if numbers[k]]
    seen = ", ".join(f"|{','.join(map(str, counts.outcomes[k].tolist()))}> {numbers[k]:,}" for k in best)
    return f": {seen}" if seen else ""


def _data(counts: Counts) -> dict[str, object]:
    return {"program": counts.fingerprint, "shots": counts.shots, "events": counts.events, "job_id": counts.job_id}
