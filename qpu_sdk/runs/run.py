"""A finished run: its summary, its model and its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from ..export.weights import Model, load_model
from ..rendering.text import two_columns
from .folder import RunFolder
from .summary import RunSummary
from .tables import summary_rows


@final
@dataclass(frozen=True, eq=False)
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

    def __str__(self) -> str:
        return two_columns(summary_rows(self.summary))
