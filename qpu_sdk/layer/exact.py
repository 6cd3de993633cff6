"""The conditional distribution of an ideal circuit, in torch: what training and layers call the exact p."""

from __future__ import annotations

from torch import Tensor

from ..photonics.autograd import torch_probabilities
from ..photonics.interferometer import Mesh


def conditional_probabilities(phases: Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> Tensor:
    """The distribution of the collision-free outcomes given that the outcome is one, as counts have it.

    ``p(s) = |per(U_s)|^2 / sum_s' |per(U_s')|^2``, lexicographic; NaN where photons never leave in different modes.

    :param phases: radians, float64, ``(..., declared)``.
    :returns: ``(..., C(M, N))``, sum 1, differentiable as :func:`~qpu_sdk.photonics.autograd.torch_probabilities` is.

    >>> import torch
    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> p = conditional_probabilities(torch.full((4,), 0.3, dtype=torch.float64), IsometryMesh(3, 2), (0, 1))
    >>> round(float(p.sum()), 12)
    1.0
    """
    p = torch_probabilities(phases, mesh, input_modes)
    return p / p.sum(dim=-1, keepdim=True)
