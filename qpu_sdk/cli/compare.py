"""The command compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import BudgetExceeded
from .completion import devices
from .printing import (
    BAD_INPUT,
    INTERRUPTED,
    SHOTS_AT_MOST,
    Json,
    fail,
    parse_modes,
    print_or_json,
    waiting,
)


def compare_command(
    device: Annotated[
        str, typer.Argument(help="The device, such as 'local:slos?noise=ascella'.", autocompletion=devices)
    ],
    record: Annotated[Path, typer.Option(help="Calibration record of that device.")],
    shots: Annotated[
        list[int] | None, typer.Option(min=1, max=SHOTS_AT_MOST, help="Of each estimate, repeatable; none: 1000000.")
    ] = None,
    programs: Annotated[str, typer.Option(help="Of brickwall, haar, identity, permutation, dft.")] = (
        "brickwall,haar,identity,permutation,dft"
    ),
    each: Annotated[int, typer.Option(min=1, max=1000, help="Programs of a kind.")] = 10,
    presets: Annotated[
        str | None, typer.Option(help="Of none,low,medium,high,recycling; empty for none; default: all.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method of ours to try besides auto, such as subtract; repeatable.")
    ] = None,
    inputs: Annotated[str | None, typer.Option(help="Where photons enter, such as 0,2,5; none: as the record.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the programs, and of a simulator.")] = 0,
    page: Annotated[Path | None, typer.Option(help="Also write a page, with a figure.")] = None,
    credits: Annotated[
        float | None, typer.Option(help="Most credits to spend; four photons take 205 settings a program, all presets.")
    ] = None,
    json_: Json = False,
) -> None:
    """Measure programs whose distribution is known, and compare mitigations at equal shots and equal settings."""
    from dataclasses import asdict

    from ..comparison.compare import compare_on
    from ..comparison.page import comparison_page, comparison_rows
    from ..comparison.trial import ComparisonRequest
    from ..devices.budget import with_credits_option
    from ..files import write_atomic
    from ..mitigation.methods import AUTO

    request = ComparisonRequest(
        kinds=_names(programs),  # type: ignore[arg-type]
        each=each,
        shots=tuple(shots or (1_000_000,)),
        seed=seed,
        presets=None if presets is None else _names(presets),
        methods=tuple(name for name in method or () if name != AUTO),  # which is there anyway
        input_modes=None if inputs is None else parse_modes(inputs),
    )
    folder = page.parent if page is not None else Path("runs")
    try:
        with waiting(f"comparing on {device}") as update:

            def show(done: int, total: int) -> None:
                update(f"comparing on {device}: {done} of {total} programs")

            found = compare_on(device, record, request, folder=folder, credits=credits, progress=show)
    except BudgetExceeded as error:
        raise with_credits_option(error, "--credits ") from None
    except KeyboardInterrupt:
        fail("interrupted. Give the same command again to go on; nothing is measured twice.", INTERRUPTED)
    print_or_json(comparison_rows(found), asdict(found), json_)
    if page is not None:
        try:
            write_atomic(page, comparison_page(found))
        except OSError as error:
            fail(f"cannot write {page} ({error.strerror or error}). Choose another place.", BAD_INPUT)


def _names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)
