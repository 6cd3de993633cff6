"""A photonic circuit as an ordinary torch module, which trains on simulators and on hardware."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import real, whole, wholes
from ..devices.base import Device
from ..devices.budget import Budget, Cost
from ..devices.registry import open_device
from ..errors import CheckpointError, ConfigError, ProgramError
from ..files import user_path
from ..mitigation.methods import AUTO, check_method
from ..photonics.inputs import Inputs
from ..photonics.interferometer import Mesh
from ..photonics.program import Program
from ..photonics.program_noise import ProgramNoise
from ..photonics.shift_rule import shift_rules
from ..seeds import child_seed
from ..words import short
from .bench import Bench, BenchTerms, DeviceBench, ExactBench
from .exact import conditional_probabilities, exact_noise
from .gradients import Gradients, ParameterShift, Perturbation
from .measuring import QNN
from .passes import measured_pass, untraced
from .records import Wanted

#: Ways to gradients.
GRADIENTS = ("exact", "parameter-shift", "spsa")
_MOST_PAIRS = 10_000


@final
class PhotonicLayer(nn.Module):
    """Phases in, the distribution of photons over the outputs out.

    ``layer()`` is p, ``(K,)``, K = C(M, N): the probabilities of the outcomes with at most one photon a mode, given
    that the outcome is one of them, lexicographic, sum 1. ``layer(phases)`` adds phases that other modules compute to
    the layer's own, ``(..., declared) -> (..., K)``, and gradients flow to both; p has their floating-point type.

    With ``shots=None`` p is exact, and differentiable as often as one likes. With shots a forward pass is one job of
    the whole batch on the device, mitigated, and its backward pass a second one, unless gradients are a simulator's.
    Passes are numbered, and numbers name what is drawn: the same training measures the same counts.

    :param mesh: the interferometer.
    :param input: where photons enter, as ``inputs`` of :class:`~qpu_sdk.photonics.program.Program`.
    :param photons: how many enter, where neither input nor mesh says so.
    :param device: a string that ``open_device`` takes, or an open device.
    :param shots: of each setting; None for the exact probabilities of a simulator, ideal or noisy.
    :param gradient: ``"exact"``, that of the ideal circuit, for simulators; ``"parameter-shift"``, 2 n settings for a
        phase shifter that n photons may pass and 4 n for a beam splitter; or ``"spsa"``, 2 settings a pair.
    :param shift_phases: of the parameter-shift rule: so many phases at a time, drawn and weighted so that the mean is
        the whole gradient, or the indices of the phases that it is taken in; None for all.
    :param pairs: of SPSA, for each phase vector.
    :param step: of SPSA, radians: its bias grows with the square, and the noise of shots with the inverse.
    :param method: of mitigation, as of :func:`~qpu_sdk.mitigation.mitigate.mitigate`.
    :param record: a calibration record's file, or a folder of records; None: what simulators say of themselves.
    :param budget: limits of all that the layer measures, such as ``{"settings": 5000, "credits": 20}``.
    :param seed: of the first phases, and of everything that is drawn later.
    :param dtype: of the phases.
    :raises ProgramError: when inputs do not fit the mesh, or the circuit does not fit the device.
    :raises ConfigError: for other values that do not go together.
    :raises CalibrationError: when a method is named and the device has no record, or one that does not fit.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> layer = PhotonicLayer(IsometryMesh(4, 2), seed=1)
    >>> p = layer()
    >>> p[0].backward()
    >>> p.shape, layer.phases.grad.shape, layer(torch.zeros(5, layer.declared)).shape
    (torch.Size([6]), torch.Size([7]), torch.Size([5, 6]))
    """

    def __init__(
        self,
        mesh: Mesh,
        input: Inputs | None = None,
        *,
        photons: int | None = None,
        device: str | Device = "local:slos",
        shots: int | None = None,
        gradient: Literal["exact", "parameter-shift", "spsa"] = "exact",
        shift_phases: int | Sequence[int] | None = None,
        pairs: int = 1,
        step: float = 0.1,
        method: str = AUTO,
        record: str | Path | None = None,
        budget: Mapping[str, Any] | Budget | None = None,
        seed: int,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if not isinstance(mesh, Mesh):
            raise ProgramError(f"a {type(mesh).__name__} is no mesh. Use for example qpu_sdk.IsometryMesh(9, 4).")
        seed = whole(seed, "seed", ConfigError, least=0, most=2**63 - 1)
        first = Program.random(mesh, input, photons=photons, seed=seed)
        self.mesh, self.input_modes = mesh, first.input_modes
        self.shots = None if shots is None else whole(shots, "shots", ConfigError, least=1)
        self.gradient = _one_of(gradient, GRADIENTS, "gradient")
        self._given, self._device, self._opened_with = device, _opened(device, seed), seed
        self._record = None if record is None else str(user_path(record, "record"))
        self._method, self._budget = check_method(method), _budget(budget)
        self._shift_phases = self._checked_choice(shift_phases)
        self._pairs = whole(pairs, "pairs", ConfigError, least=1, most=_MOST_PAIRS)
        self._step = real(step, "step", ConfigError, above=0.0)
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ConfigError(f"dtype is {dtype}. Use torch.float64 or torch.float32.")
        self._noise = self._checked_device(first)
        self.phases = nn.Parameter(torch.tensor(first.phases, dtype=dtype))
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("forwards", torch.tensor(0))
        self.seed: Tensor
        self.forwards: Tensor
        self._file: Path | None = None
        self._bench: Bench | None = None
        self._opened_bench()  # now, for its checks

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def declared(self) -> int:
        """Phases of the circuit."""
        return self.mesh.declared

    @property
    def outcomes(self) -> int:
        """Entries of p, K = C(M, N)."""
        return self._circuit.outcomes

    @property
    def settings(self) -> tuple[int, int]:
        """Settings of one phase vector: of a forward pass, and of its backward pass at most.

        >>> from qpu_sdk.photonics.meshes import IsometryMesh
        >>> PhotonicLayer(IsometryMesh(4, 2), shots=1000, gradient="parameter-shift", seed=1).settings
        (1, 20)
        """
        measured = self.shots is not None
        ways = self._gradients()
        return int(measured), ways.settings if measured and isinstance(ways, ParameterShift | Perturbation) else 0

    @property
    def spent(self) -> Cost:
        """Settings, shots, credits, jobs and machine time of all that was measured, in the attached folder if any."""
        return self._opened_bench().spent

    def extra_repr(self) -> str:
        """Circuit, device and how it is trained."""
        how = "exact" if self.shots is None else f"shots={self.shots}"
        return (
            f"{self.mesh!r}, inputs={self.input_modes}, outcomes={self.outcomes}, device={self._device.spec.name!r}, "
            f"{how}, gradient={self.gradient!r}, seed={self._own_seed}"
        )

    @property
    def _own_seed(self) -> int:
        """The seed, which on torch's meta device is known to the device alone."""
        return self._opened_with if self.seed.is_meta else int(self.seed)

    @property
    def _circuit(self) -> QNN:
        return QNN(self.mesh, self.input_modes, self._device.spec.name)

    # -- forward and backward ------------------------------------------------------------------------------

    def forward(self, phases: Tensor | None = None) -> Tensor:
        """The distribution at the layer's phases, ``(K,)``, or at those plus ``phases``, ``(..., K)``.

        :param phases: radians, ``(..., declared)``.
        :raises ProgramError: when ``phases`` is no floating-point tensor, or has another last axis.
        :raises BudgetExceeded: before anything is sent, when the budget does not bear this pass and its backward pass.
        """
        if phases is not None:
            self._check_given(phases)
        total = self.phases if phases is None else self.phases + phases
        like = self.phases if phases is None else phases
        if total.is_meta:  # a shape alone, as of any other layer there
            return total[..., :1].expand(*total.shape[:-1], self.outcomes).to(like)
        exact = total.to("cpu", torch.float64)
        if self.shots is None and self.gradient == "exact":
            return conditional_probabilities(exact, self.mesh, self.input_modes, self._noise).to(like)
        if torch.compiler.is_exporting():
            raise untraced()
        if torch.compiler.is_dynamo_compiling():  # it leaves this part as it is; loading it takes nobody else's seconds
            found: Tensor = torch.compiler.disable(self._measured)(exact)  # type: ignore[no-untyped-call]
            return found.to(like)
        return self._measured(exact).to(like)

    def _measured(self, exact: Tensor) -> Tensor:
        number = int(self.forwards)
        rows = measured_pass(exact.reshape(-1, self.declared), self._opened_bench(), self._gradients(), number)
        self.forwards += 1  # when it has succeeded: who tries again asks for the same
        return rows.reshape(*exact.shape[:-1], self.outcomes)

    def _check_given(self, phases: object) -> None:
        if not isinstance(phases, Tensor) or not phases.is_floating_point():
            what = f"tensor of {phases.dtype}" if isinstance(phases, Tensor) else type(phases).__name__
            raise ProgramError(f"phases are a {what}. Give a floating-point tensor (..., {self.declared}).")
        if phases.ndim == 0 or phases.shape[-1] != self.declared:
            raise ProgramError(
                f"phases have shape {tuple(phases.shape)}; the layer takes (..., {self.declared}). "
                f"End in nn.Linear(features, {self.declared})."
            )

    def _gradients(self) -> Gradients | None:
        """How gradients are made of probabilities; None where they are not."""
        seed = child_seed(self._own_seed, "gradients")
        if self.gradient == "parameter-shift":
            return ParameterShift(shift_rules(self.mesh, self.input_modes), self._shift_phases, seed)
        return Perturbation(self._pairs, self._step, seed) if self.gradient == "spsa" else None

    # -- the device ----------------------------------------------------------------------------------------

    def attach(self, run_folder: str | Path, *, name: str = "layer") -> Self:
        """Keep every job and count in a folder from now on, so that what was killed goes on and pays nothing twice.

        The same training in the same folder finds what was measured, counts it against the budget and goes on from
        where it was. The folder gets ``NAME.sqlite`` (``qpu-sdk jobs list --run FOLDER/NAME.sqlite``) and, where the
        device has one, the calibration record that was begun with; one process may hold them at a time.

        :param run_folder: is made where it is missing.
        :param name: of this layer, where several share a folder.
        :returns: the layer.
        :raises ConfigError: when nothing is measured, or the name is none of a file.
        :raises CheckpointError: when another process holds the folder, or what is in it is damaged.
        """
        if self.shots is None:
            raise ConfigError("this layer is exact and measures nothing that a folder could keep. Give it shots=.")
        if not name or name != Path(name).name or name.startswith("."):
            raise ConfigError(f"name is {short(name)}. Use the name of a file, such as layer.")
        file = user_path(run_folder, "the folder of the layer") / f"{name}.sqlite"
        if file != self._file:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CheckpointError.unwritten(file.parent, error) from error
            bench = self._device_bench(file)  # before anything is let go of: it may be refused
            self.detach()
            self._bench, self._file = bench, file
        return self

    def detach(self) -> None:
        """Let go of the folder; what is measured afterwards is kept in memory."""
        if self._bench is not None:
            self._bench.close()
        self._bench = self._file = None

    def _opened_bench(self) -> Bench:
        if self._bench is None:
            self._bench = ExactBench(self._circuit) if self.shots is None else self._device_bench(self._file)
        return self._bench

    def _device_bench(self, file: Path | None) -> DeviceBench:
        assert self.shots is not None
        wanted = Wanted(self._method, self._record, None, child_seed(self._own_seed, "mitigation"))
        return DeviceBench(self._circuit, self._device, BenchTerms(self.shots, wanted, self._budget), file)

    def _checked_device(self, program: Program) -> ProgramNoise | None:
        """The noise that is part of exact probabilities; None where they are ideal, or measured."""
        spec = self._device.spec
        if self.shots is not None:
            spec.check([program], shots=self.shots)
        if self.gradient == "exact" and not spec.simulated:
            raise ConfigError(
                f'{spec.name} is no simulator, and gradient is exact. Use gradient="parameter-shift" or "spsa".'
            )
        return None if self.shots is not None else exact_noise(spec, program, self.gradient)

    def _checked_choice(self, given: int | Sequence[int] | None) -> int | tuple[int, ...] | None:
        if given is None:
            return None
        if self.gradient != "parameter-shift":
            raise ConfigError(f'shift_phases is of gradient="parameter-shift"; gradient is {self.gradient}.')
        if isinstance(given, Sequence | np.ndarray):
            slots = tuple(sorted(set(wholes(given, "a phase to shift", ConfigError))))
            if not slots or slots[0] < 0 or slots[-1] >= self.mesh.declared:
                raise ConfigError(f"shift_phases is {short(given)}. Use indices from 0 to {self.mesh.declared - 1}.")
            return slots
        return whole(given, "shift_phases", ConfigError, least=1)

    def _load_from_state_dict(self, *given: Any, **more: Any) -> None:
        super()._load_from_state_dict(*given, **more)
        if self._own_seed != self._opened_with:  # another seed is another device, and another in-memory journal
            self._opened_with = self._own_seed
            self._device = _opened(self._given, self._opened_with)
            if self._bench is not None:
                self._bench.close()
                self._bench = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy is of the same circuit with the same phases, and attached to nothing."""
        memo[id(self._given)] = self._given  # a device that is open stays one
        memo[id(self)] = made = type(self).__new__(type(self))
        made.__setstate__(copy.deepcopy(self._unopened, memo))
        return made

    def __getstate__(self) -> dict[str, Any]:
        """What ``torch.save`` of a whole model and other processes get: the same as a copy.

        :raises ConfigError: when the layer was given an open device, which is of this process.
        """
        if not isinstance(self._given, str):
            raise ConfigError(
                f"a layer on a device that is open, {short(self._device.spec.name)}, stays in this process. Give the "
                "layer the device's string, or save its state_dict."
            )
        return self._unopened

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._device = _opened(self._given, self._opened_with)

    @property
    def _unopened(self) -> dict[str, Any]:
        return {**self.__dict__, "_bench": None, "_file": None, "_device": None}


def _opened(device: str | Device, seed: int) -> Device:
    """An open device as it is, a string with random numbers of the layer's."""
    found: Any = device
    return found if hasattr(found, "submit") else open_device(found, seed=child_seed(seed, "device"))


def _budget(given: Mapping[str, Any] | Budget | None) -> Budget:
    if isinstance(given, Budget):
        return given
    known = [field.name for field in fields(Budget)]
    for key in given or {}:
        if key not in known:
            raise ConfigError(f"budget has no {short(key)}. Use {', '.join(known[:-1])} or {known[-1]}.")
    return Budget(**(given or {}))


def _one_of(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise ConfigError(f"{what} is {short(value)}. Use {', '.join(known[:-1])} or {known[-1]}.")
    return value
