"""The words of every signature: arrays of whole, real and complex numbers, of truth values and of outcomes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

OutcomeArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
ComplexArray = npt.NDArray[np.complex128]
FloatArray = npt.NDArray[np.float64]
