"""The conditional distribution of a circuit, in torch: what training and layers call the exact p."""

from __future__ import annotations

from torch import Tensor

from ..devices.base import DeviceSpec
from ..errors import ConfigError
from ..photonics.autograd import torch_probabilities
from ..photonics.interferometer import Mesh
from ..photonics.plain_clicks import click_probabilities
from ..photonics.program import Program
from ..photonics.program_noise import ProgramNoise


def conditional_probabilities(
    phases: Tensor, mesh: Mesh, input_modes: tuple[int, ...], noise: ProgramNoise | None = None
) -> Tensor:
    """The distribution of the collision-free outcomes given that the outcome is one, as counts have it.

    ``p(s) = |per(U_s)|^2 / sum_s' |per(U_s')|^2``, lexicographic; NaN where photons never leave in different modes.

    :param phases: radians, float64, ``(..., declared)``.
    :param noise: in front of threshold detectors; None for the ideal circuit.
    :returns: ``(..., C(M, N))``, sum 1, differentiable as :func:`~qpu_sdk.photonics.autograd.torch_probabilities` is.

    >>> import torch
    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> p = conditional_probabilities(torch.full((4,), 0.3, dtype=torch.float64), IsometryMesh(3, 2), (0, 1))
    >>> round(float(p.sum()), 12)
    1.0
    """
    if noise is None:
        p = torch_probabilities(phases, mesh, input_modes)
    else:
        p = click_probabilities(phases, mesh, input_modes, noise)
    return p / p.sum(dim=-1, keepdim=True)


def exact_noise(spec: DeviceSpec, program: Program, gradient: str) -> ProgramNoise | None:
    """The noise of a device's exact probabilities, None where they are the ideal ones.

    :param gradient: that is to be taken of them.
    :raises ConfigError: when the device has none, or they are not to be had with such a gradient.
    """
    noise, way = spec.noise, "Give shots="
    if noise is None:
        raise ConfigError(f"{spec.name} has no exact probabilities: they are those of simulators. {way}.")
    if noise.only_loss:
        return None
    if noise.phase_imprecision or noise.phase_error or noise.angle_error:
        raise ConfigError(
            f"{spec.name} has no exact probabilities: its phases have errors. Leave them out, as in noise=ascella-"
            f"published, or give shots=."
        )
    if spec.detector != "threshold":
        raise ConfigError(
            f"{spec.name} has noise in front of detectors of the kind {spec.detector}, and exact probabilities of "
            f"noise are those of threshold detectors. Use detector=threshold, or give shots=."
        )
    if gradient != "exact":
        raise ConfigError(
            f'{spec.name} is noisy; its exact probabilities have gradient="exact" alone. Use that. {way}.'
        )
    return noise.at(program)
