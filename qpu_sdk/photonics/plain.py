"""Probabilities in torch's own operations, on which everything works that torch does with operations.

Slower than :mod:`qpu_sdk.photonics.autograd`, whose second derivatives are taken of these.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .fock import collision_free_outcomes
from .interferometer import ABSENT, Mesh
from .permanents import glynn_signs


def plain_probabilities(phases: Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> Tensor:
    """:func:`~qpu_sdk.photonics.autograd.torch_probabilities`, ``(..., declared) -> (..., C(M, N))``.

    :param phases: radians, float64.

    >>> from .meshes import IsometryMesh
    >>> plain_probabilities(torch.zeros(4, dtype=torch.float64), IsometryMesh(3, 2), (0, 1)).round(decimals=6).tolist()
    [0.0, 0.0, 1.0]
    """
    signs = torch.tensor(glynn_signs(len(input_modes)), dtype=torch.complex128)
    sums = plain_columns(phases, mesh, input_modes) @ signs.mT  # (..., M, D)
    outcomes = torch.tensor(collision_free_outcomes(mesh.modes, len(input_modes)))
    product = sums[..., outcomes[:, 0], :]
    for photon in range(1, len(input_modes)):
        product = product * sums[..., outcomes[:, photon], :]  # not prod(): its derivatives divide
    amplitude = (product * signs.prod(dim=1)).sum(dim=-1) * 2.0 ** (1 - len(input_modes))
    return amplitude.real.square() + amplitude.imag.square()


def plain_columns(phases: Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> Tensor:
    """Occupied columns of the unitary, ``(..., M, N)``, gate by gate."""
    rows = list(torch.eye(mesh.modes, dtype=torch.complex128)[:, list(input_modes)])
    for mode, slot in enumerate(mesh.input_phases):
        rows[mode] = rows[mode] * _turn(phases, slot)
    for gate in mesh.gates:
        half = 0.5 * phases[..., gate.theta, None]
        sine, cosine = half.sin().to(torch.complex128), half.cos().to(torch.complex128)
        upper, lower = rows[gate.mode], rows[gate.mode + 1]
        if mesh.mach_zehnder:
            lead = 1j * torch.exp(1j * half)
            upper, lower = lead * (sine * upper + cosine * lower), lead * (cosine * upper - sine * lower)
        else:
            upper, lower = cosine * upper + 1j * sine * lower, 1j * sine * upper + cosine * lower
        rows[gate.mode] = upper * _turn(phases, gate.phi_top) if gate.phi_top != ABSENT else upper
        rows[gate.mode + 1] = lower * _turn(phases, gate.phi_bottom) if gate.phi_bottom != ABSENT else lower
    rows = list(torch.broadcast_tensors(*rows))  # type: ignore[no-untyped-call]
    return torch.stack(rows, dim=-2)


def _turn(phases: Tensor, slot: int) -> Tensor:
    """e^(i phase), ``(..., 1)``."""
    return torch.exp(1j * phases[..., slot, None])
