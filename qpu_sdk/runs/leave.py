"""A trained network leaves: every format, made and checked before any file is put in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..errors import CheckpointError, ConfigError, DataError
from ..export.demo import demo_page, read_runtime
from ..export.hub import push_files
from ..export.inference import open_network
from ..export.onnx import check_onnx, onnx_bytes
from ..export.program import check_program, program_bytes
from ..export.provenance import provenance
from ..export.sample import Sample, sample_of
from ..export.seed import seed_bytes
from ..export.traced import trace
from ..export.weights import Model, load_model, model_bytes
from ..files import user_path, write_atomic, write_new
from ..training.targets import Target
from ..words import did_you_mean, one_line, short
from .card import card_text
from .folder import RunFolder
from .seed import seed_of
from .summary import RunSummary, read_summary

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: Files by their formats, as they are called in a folder of all of them.
FORMATS: Mapping[str, str] = {
    "safetensors": "model.safetensors",
    "onnx": "model.onnx",
    "pt2": "model.pt2",
    "seed": "seed.safetensors",
    "card": "README.md",
    "demo": "demo.html",
}
ALL = "all"


@final
@dataclass(frozen=True)
class Exported:
    """What was written.

    :param files: by format.
    :param facts: of each format: bytes, and what the check of it found.
    :param left_out: of ``all``, formats that could not be made, and why.
    """

    files: Mapping[str, Path]
    facts: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str] = field(default_factory=dict)


def export_model(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "safetensors",
    target: str | None = None,
    runtime: str | Path | None = None,
    force: bool = False,
) -> Exported:
    """Write a trained network in a format that needs neither the SDK nor a quantum computer.

    Every file is read back and compared with the network before it is put in its place.

    :param source: the folder of a finished run, or a ``model.safetensors``.
    :param out: file to write; of format ``all`` the folder.
    :param format: a key of ``safetensors``, ``onnx``, ``pt2``, ``seed``, ``card`` and ``demo``, or ``all``.
    :param target: the network, ``module:function`` or ``FILE.py:function``, where the run does not name it.
    :param runtime: of a demo page, the package onnxruntime-web: its ``.tgz``, or the folder of it.
    :param force: True to replace files that are there.
    :raises ConfigError: when the format is not known, cannot be made of this network, or wants a package.
    :raises DataError: when the model is missing or damaged, a file is there, or a check fails; nothing is written then.

    ::

        export_model("runs/first", "model.onnx", format="onnx")
    """
    if format not in (*FORMATS, ALL):
        near = did_you_mean(format, (*FORMATS, ALL))
        raise ConfigError(f"format {short(format)} is not known.{near} Use one of {', '.join((*FORMATS, ALL))}.")
    if runtime is not None and format not in ("demo", ALL):
        raise ConfigError(
            f"a runtime is for a demo page, and --format is {format}. Leave it out, or use --format demo."
        )
    path = user_path(source, "the model's path")
    place = user_path(out, "out")
    wanted = {name: place / FORMATS[name] for name in FORMATS} if format == ALL else {format: place}
    if format == ALL and place.exists() and not place.is_dir():
        raise DataError(f"{place} is a file, and all formats want a folder. Choose another --out.")
    taken = [file for file in wanted.values() if file.exists()]
    if taken and not force:
        raise DataError(f"{taken[0]} exists already. Choose another --out, or replace it with --force.")
    maker = _Maker(path, load_model(path), target, runtime)
    if target is not None:
        maker.open()  # whoever names it wants to know that it fits, whatever the format
    made, left_out = _made(maker, wanted, strict=format != ALL)
    try:
        if format == ALL:
            place.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (write_atomic if force else write_new)(wanted[name], content)
    except FileExistsError as error:
        raise DataError(f"{error.filename2 or place} exists already. Choose another --out.") from error
    except OSError as error:
        raise DataError(f"cannot write {place} ({error.strerror or one_line(error)}). Choose another --out.") from error
    facts = {name: {"bytes": len(content), **maker.facts.get(name, {})} for name, content in made.items()}
    return Exported({name: wanted[name] for name in made}, facts, left_out)


def push_model(source: str | Path, exported: Exported, repository: str) -> str:
    """Exported files to a model hub, with the card; asks the network, and nothing else here does.

    :param source: of which they were exported.
    :param repository: ``user/name``; made, private, when it is not there.
    :returns: address of the commit.
    :raises ConfigError: when the hub, or its login, refuses.
    """
    path = user_path(source, "the model's path")
    contents = {FORMATS[name]: file.read_bytes() for name, file in exported.files.items()}
    if "card" not in exported.files:
        contents[FORMATS["card"]] = _Maker(path, load_model(path), None, None).make("card")
    return push_files(contents, repository)


def _made(maker: _Maker, wanted: Mapping[str, Path], *, strict: bool) -> tuple[dict[str, bytes], dict[str, str]]:
    """Contents by format, and why some have none.

    :param strict: False to go on with the others.
    """
    made, left_out = dict[str, bytes](), dict[str, str]()
    for name in wanted:
        try:
            made[name] = maker.make(name)
        except (ConfigError, DataError) as error:
            if strict:
                raise
            left_out[name] = str(error)
    return made, left_out


@final
class _Maker:
    """Makes the files of one model; what several of them need is made once."""

    def __init__(self, path: Path, model: Model, factory: str | None, runtime: str | Path | None) -> None:
        self.run = RunFolder(path) if path.is_dir() else None
        self.name = (path if path.is_dir() else path.parent).resolve().name or path.stem
        self.model, self.factory, self.runtime = model, factory, runtime
        self.facts: dict[str, dict[str, Any]] = {}

    def make(self, name: str) -> bytes:
        """The content of a format's file, checked."""
        makers: Mapping[str, Callable[[], bytes]] = {
            "safetensors": self._safetensors,
            "onnx": lambda: self._onnx,
            "pt2": self._pt2,
            "seed": self._seed,
            "card": self._card,
            "demo": self._demo,
        }
        return makers[name]()

    def open(self) -> Target:
        """The network, with the model's weights.

        :raises DataError: when these are not its own.
        """
        return self._target

    @cached_property
    def _target(self) -> Target:
        return open_network(self.model, run=None if self.run is None else self.run.path, factory=self.factory)

    @cached_property
    def _sample(self) -> Sample:
        return sample_of(self.model, self._target, own=self.run is not None)

    @cached_property
    def _program(self) -> ExportedProgram:
        return trace(self._target.module, self.model.use.shape)

    def _safetensors(self) -> bytes:
        content = model_bytes(self.model)
        self.facts["safetensors"] = {"tensors": len(self.model.tensors), "sha256": hashlib.sha256(content).hexdigest()}
        return content

    @cached_property
    def _onnx(self) -> bytes:
        content = onnx_bytes(self._program, provenance(self.model))
        self._checked("onnx", check_onnx(content, self._sample))
        return content

    def _pt2(self) -> bytes:
        content = program_bytes(self._program, provenance(self.model))
        self._checked("pt2", check_program(content, self._sample))
        return content

    def _checked(self, name: str, difference: float) -> None:
        self.facts[name] = {
            "checked_on": self._sample.what,
            "largest_difference": difference,
            "tolerance": self._sample.tolerance,
        }

    def _seed(self) -> bytes:
        if self.run is None:
            raise DataError("a model file does not hold its seed. Name the folder of the run.")
        content = seed_bytes(seed_of(self.run), self.model)
        ratio = len(model_bytes(self.model)) / len(content)
        self.facts["seed"] = {"weights_over_seed": round(ratio, 2)}
        return content

    def _card(self) -> bytes:
        return card_text(self.name, self.model, self._summary()).encode()

    def _summary(self) -> RunSummary | None:
        if self.run is None or not self.run.summary.is_file():
            return None
        try:
            return read_summary(self.run.summary)
        except CheckpointError as error:  # a card is left out of all formats, as what else cannot be made
            raise DataError(str(error)) from error

    def _demo(self) -> bytes:
        runtime = read_runtime(self.runtime)  # first: that is quickly said
        content = demo_page(self.name, self.model, self._onnx, runtime).encode()
        self.facts["demo"] = self.facts["onnx"]
        return content
