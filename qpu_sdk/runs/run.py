"""A finished run: its summary, its model and its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

from ..export.weights import Model, load_model
from ..markup import Html, notebook_table
from ..rendering.text import two_columns, typeset
from .folder import RunFolder
from .metric import Metric
from .summary import RunSummary
from .tables import summary_rows

if TYPE_CHECKING:  # nobody else needs exporters
    from .leave import Exported


@final
@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished run.

    :param path: its folder.
    :param summary: its result, as in ``summary.json``.
    """

    path: Path
    summary: RunSummary = field(repr=False)

    @property
    def model(self) -> Model:
        """The trained network; ``run.model.module()`` is an ordinary ``torch.nn.Module``."""
        return load_model(self.path)

    @property
    def report(self) -> Path:
        """The page with the whole story."""
        return RunFolder(self.path).report

    def export(
        self,
        out: str | Path,
        *,
        format: str = "safetensors",
        target: str | None = None,
        runtime: str | Path | None = None,
        force: bool = False,
    ) -> Exported:
        """Write the network as a file that needs neither the SDK nor a quantum computer; see ``qpu-sdk export``.

        Every file is read back and compared with the network before it is put in its place.

        :param out: file to write; of format ``all`` the folder.
        :param format: ``safetensors``, ``onnx``, ``pt2``, ``seed``, ``card``, ``demo``, or ``all`` of them.
        :param target: the network, ``module:function`` or ``FILE.py:function``, where the run does not name it.
        :param runtime: of a demo page, the package onnxruntime-web: its ``.tgz``, or the folder of it.
        :param force: True to replace files that are there.
        :raises ConfigError: see :func:`~qpu_sdk.runs.leave.export_model`.
        """
        from .leave import export_model

        return export_model(self.path, out, format=format, target=target, runtime=runtime, force=force)

    def __repr__(self) -> str:
        metric = Metric.of([self.summary])
        return f"Run({str(self.path)!r}, {metric.told(self.summary.figure)} test {metric.name})"

    def _repr_html_(self) -> Html:
        rows = summary_rows(self.summary)
        note = next((text for name, text in rows if name == "verdict"), "")
        told = typeset(row for row in rows if row[0] != "verdict")
        return notebook_table(f"Run {self.path.name}", told, note=f"{note} The whole story: {self.report}".strip())

    def __str__(self) -> str:
        return two_columns(summary_rows(self.summary))
