"""The tables of a configuration about circuits, and about the chain that makes weights of their outcomes."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field, field_validator, model_validator

from ..errors import ProgramError
from ..generator.limits import checked_bond
from ..photonics.interferometer import Mesh
from ..photonics.meshes import open_mesh
from .allowed import AtLeastZero, Positive, PositiveOrZero, WholeNumber, as_value
from .section import Section


@final
class QNNConfig(Section):
    """One photonic circuit.

    :param modes: of the interferometer.
    :param photons: that are sent in, at most one a mode.
    :param mesh: how phases make the interferometer; ``brickwall`` is the published one.
    :param device: of this circuit; none: the run's.
    :param input_modes: where photons enter, from 0; none: the mesh's own inputs.
    """

    modes: Annotated[WholeNumber, Field(ge=2, le=64)]
    photons: Positive
    mesh: Literal["isometry", "rectangular", "brickwall"] = "isometry"
    device: str | None = None
    input_modes: tuple[PositiveOrZero, ...] | None = None

    def open_mesh(self) -> Mesh:
        """The mesh; raises :class:`ProgramError` when the photons do not fit the modes."""
        return open_mesh(self.mesh, modes=self.modes, photons=self.photons)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input modes, the mesh's own unless given."""
        return self.input_modes if self.input_modes is not None else self.open_mesh().default_input(self.photons)

    @model_validator(mode="after")
    def _fits(self) -> QNNConfig:
        try:
            self.open_mesh()
        except ProgramError as error:
            raise ValueError(str(error)) from None
        inputs = self.inputs
        if len(inputs) != self.photons or len(set(inputs)) < len(inputs) or max(inputs) >= self.modes:
            raise ValueError(f"input_modes {inputs} are not {self.photons} distinct modes of 0..{self.modes - 1}")
        return self


@final
class GeneratorConfig(Section):
    """From probabilities to weights; see :mod:`qpu_sdk.generator.mps` and, for phases, :mod:`qpu_sdk.generator.phases`.

    :param kind: chains without what is redundant at their ends, with one matrix a bit, as published; or no chain.
    :param bond_dim: of chains; ``phases`` has none.
    :param init_std: spread of the first numbers; none: 0.1 (tapered), 0.01 (lean) or 1e-9 (paper).
    """

    kind: Literal["tapered", "lean", "paper", "phases"] = "tapered"
    bond_dim: Positive = 8
    init_std: AtLeastZero | None = None

    @field_validator("bond_dim")
    @classmethod
    def _fits_memory(cls, bond_dim: int) -> int:
        return as_value(lambda: checked_bond(bond_dim))
