"""The click model in torch's own operations: what threshold detectors behind a noisy source see, differentiable."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..arrays import IntArray
from .click_model import check_click_work
from .fock import collision_free_outcomes, occupations
from .interferometer import Mesh
from .patterns import mode_sets
from .permanents import glynn_signs
from .plain import plain_columns
from .program_noise import ProgramNoise, emission


def click_probabilities(phases: Tensor, mesh: Mesh, input_modes: tuple[int, ...], noise: ProgramNoise) -> Tensor:
    """Probabilities that N detectors click and which, ``(..., declared) -> (..., C(M, N))``, lexicographic.

    The formula of :mod:`~qpu_sdk.photonics.click_model`, whose letters these are, differentiable as often as one likes.
    Absolute errors are a few 1e-15, so that behind a transmittance t the relative ones are of the order 1e-15 / t^N.

    :param phases: radians, float64.
    :raises ProgramError: when there are too many patterns.

    Two photons on a balanced beam splitter leave apart with probability (1 - I) / 2:

    >>> from .meshes import RectangularMesh
    >>> from .noise import Noise
    >>> mesh = RectangularMesh(2)
    >>> phases = torch.tensor(mesh.phases_of(np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)))
    >>> click_probabilities(phases, mesh, (0, 1), Noise(indistinguishability=0.9).at((0, 1), modes=2)).round(decimals=6)
    tensor([0.0500], dtype=torch.float64)
    """
    photons = len(input_modes)
    check_click_work(mesh.modes, photons, photons)
    within = _within(plain_columns(phases, mesh, input_modes), noise)
    parts, signs = _subsets(mesh.modes, photons)
    return (within[..., torch.from_numpy(parts)] * torch.from_numpy(signs)).sum(dim=-1)


def _within(columns: Tensor, noise: ProgramNoise) -> Tensor:
    """Q(T) = P(clicks within T) of all sets of at most N modes, ``(..., M, N) -> (..., K)``."""
    modes, photons = columns.shape[-2:]
    outside = torch.from_numpy(~mode_sets(modes, photons).members).to(torch.float64)
    entered = columns * torch.from_numpy(np.sqrt(noise.transmittance))
    outer = entered.conj()[..., :, :, None] * entered[..., :, None, :]  # (..., M, N, N)
    seen = outer * torch.from_numpy(noise.efficiency)[:, None, None]
    lost = torch.einsum("km,...mij->...kij", outside.to(seen.dtype), seen)
    h = torch.eye(photons, dtype=seen.dtype) - lost
    roots = torch.tensor(noise.indistinguishability, dtype=torch.float64).sqrt()
    common = torch.ones((), dtype=torch.float64) if roots.ndim else roots
    h = h * roots if roots.ndim else h
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    q = h.diagonal(dim1=-2, dim2=-1).real
    alpha = common * (one + two * q)
    beta = (1.0 - one - two) + (1.0 - common) * (one * q + two * q**2)
    matrix = alpha[..., None] * h + torch.diag_embed(beta)
    # d = 1 would have log 0, and -inf times the 0 of a mode inside T is NaN.
    silent = np.log1p(-np.minimum(noise.dark_counts, 1.0 - 2.0**-53))
    return _permanent(matrix).real * torch.exp(outside @ torch.from_numpy(silent))


def _permanent(matrix: Tensor) -> Tensor:
    """Of ``(..., N, N)``, by Glynn's formula."""
    signs = torch.tensor(glynn_signs(matrix.shape[-1]), dtype=matrix.dtype)
    sums = matrix @ signs.mT  # (..., N, D)
    product = sums[..., 0, :]
    for row in range(1, matrix.shape[-1]):
        product = product * sums[..., row, :]  # not prod(): its derivatives divide
    return (product * signs.prod(dim=1)).sum(dim=-1) * 2.0 ** (1 - matrix.shape[-1])


@lru_cache(maxsize=16)
def _subsets(modes: int, photons: int) -> tuple[IntArray, IntArray]:
    """Where the subsets of every outcome stand among the sets, ``(C(M, N), 2^N)``, and their signs, ``(2^N,)``."""
    outcomes, sets = collision_free_outcomes(modes, photons), mode_sets(modes, photons)
    kept = np.array(list(itertools.product((False, True), repeat=photons)))  # (2^N, N)
    places = [sets.find(occupations(outcomes[:, one], modes)) for one in kept]
    return np.stack(places, axis=1), (-1) ** (photons - kept.sum(axis=1))
