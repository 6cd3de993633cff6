"""Random and special unitaries, made without the package."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def haar(modes: int, seed: int) -> npt.NDArray[np.complex128]:
    """Haar-random: QR of a Ginibre matrix, phases of R's diagonal taken out (Mezzadri, math-ph/0609050)."""
    rng = np.random.default_rng(seed)
    q, r = np.linalg.qr(rng.normal(size=(modes, modes)) + 1j * rng.normal(size=(modes, modes)))
    return np.asarray(q * (np.diag(r) / np.abs(np.diag(r))))


def fourier(modes: int) -> npt.NDArray[np.complex128]:
    """Discrete Fourier transform."""
    k = np.arange(modes)
    return np.asarray(np.exp(2j * np.pi * np.outer(k, k) / modes) / np.sqrt(modes))


def hadamard(doublings: int) -> npt.NDArray[np.complex128]:
    """Sylvester's Hadamard matrix of 2^doublings modes, normalised."""
    h = np.ones((1, 1), dtype=np.complex128)
    for _ in range(doublings):
        h = np.kron(h, np.array([[1, 1], [1, -1]]) / np.sqrt(2))
    return h
