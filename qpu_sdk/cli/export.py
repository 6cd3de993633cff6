"""The commands export and expand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import one_of, run_folders
from .models import Network
from .printing import BAD_INPUT, Json, complain, fail, print_table, show_values, tell, tell_json

if TYPE_CHECKING:  # it loads torch
    from ..runs.leave import Exported

Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def export_command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a finished run, or a model.safetensors.", autocompletion=run_folders)
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="safetensors, onnx, pt2, seed, card, demo, or all of them.",
            autocompletion=one_of(lambda: ("safetensors", "onnx", "pt2", "seed", "card", "demo", "all")),
        ),
    ] = "safetensors",
    out: Annotated[
        Path | None, typer.Option(help="File to write, of --format all the folder; none: named after the run, here.")
    ] = None,
    target: Network = None,
    runtime: Annotated[
        Path | None, typer.Option(help="Of a demo page: the package onnxruntime-web, a .tgz or a folder.")
    ] = None,
    push: Annotated[
        str | None, typer.Option(help="USER/NAME on the Hugging Face hub, to which the files go too, with the card.")
    ] = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Write a trained network in a format that needs neither the SDK nor a quantum computer."""
    from ..runs.leave import ALL, FORMATS, export_model, push_model

    name = folder.resolve().parent.name if folder.is_file() else folder.resolve().name
    ending = "" if format_ not in FORMATS else Path(FORMATS[format_]).suffix
    own = {"seed": f"{name}.seed{ending}", "card": f"{name}.md", ALL: f"{name}-export"}
    place = out if out is not None else Path(own.get(format_, f"{name}{ending}"))
    done = export_model(folder, place, format=format_, target=target, runtime=runtime, force=force)
    pushed = None if push is None else push_model(folder, done, push)
    if format_ == ALL:
        _show_all(done, pushed, json_)
    else:
        values = {"written": str(done.files[format_]), **done.facts[format_]}
        show_values(values | ({} if pushed is None else {"pushed": pushed}), json_)
    failed = {one: why for one, why in done.left_out.items() if one != "demo" or runtime is not None}
    for one, why in failed.items():
        complain(f"{one}: {why}", BAD_INPUT)
    if failed:
        raise typer.Exit(BAD_INPUT)


def _show_all(done: Exported, pushed: str | None, json_: bool) -> None:
    if json_:
        files = {one: {"written": str(path), **done.facts[one]} for one, path in done.files.items()}
        tell_json({"files": files, "left_out": dict(done.left_out), "pushed": pushed})
        return
    rows = [(one, str(path), _told(done.facts[one])) for one, path in done.files.items()]
    print_table([("format", "file", ""), *rows])
    if "demo" in done.left_out:
        tell(f"demo: left out; {done.left_out['demo']}")
    if pushed is not None:
        tell(f"pushed: {pushed}")


def _told(facts: Mapping[str, Any]) -> str:
    """What is worth knowing of a file, in one line."""
    parts = [f"{facts['bytes']:,} bytes"]
    if "checked_on" in facts:
        parts.append(f"within {facts['largest_difference']:.0e} of torch on {facts['checked_on']}")
    if "weights_over_seed" in facts:
        parts.append(f"the weights are {facts['weights_over_seed']:.2f} times as large")
    return ", ".join(parts)


def expand_command(
    seed: Annotated[Path, typer.Argument(help="A file that export --format seed wrote.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("model.safetensors"),
    force: Force = False,
    json_: Json = False,
) -> None:
    """Make the whole model out of its seed again, without a device."""
    from ..export.seed import expand_seed
    from ..files import write_atomic, write_new

    if out.exists() and not force:
        fail(f"{out} exists already. Choose another --out, or replace it with --force.", BAD_INPUT)
    done = expand_seed(seed)
    (write_atomic if force else write_new)(out, done.content)
    values = {
        "written": str(out),
        "sha256": done.sha256,
        "identical": done.identical,
        "bytes": len(done.content),
        "weights_over_seed": round(done.ratio, 2),
    }
    show_values(values, json_)
    if not done.identical:
        complain(_OTHER_BITS, BAD_INPUT)
        raise typer.Exit(BAD_INPUT)


_OTHER_BITS = (
    "the model was written, but its bits are not those of the run: this machine, or this version of torch, rounds "
    "otherwise. The weights agree to about seven digits; expand it where it was made for the same SHA-256."
)
