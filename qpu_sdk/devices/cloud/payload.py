"""Programs as Perceval 1.3 payloads: one experiment, and an iteration for every program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from ...arrays import FloatArray
from ...errors import ConfigError, DeviceUnavailable
from ...photonics.counts import Detector, is_detector
from ...photonics.decomposition import embed
from ...photonics.detectors import efficiencies_from_perceval
from ...photonics.interferometer import Mesh
from ...photonics.meshes import RectangularMesh
from ...photonics.program import Program
from ...photonics.turns import LOCK
from ...words import one_line
from .decoding import HARDWARE_KINDS, Sent, UnusableAnswer, command_names, perceval_object

if TYPE_CHECKING:
    import perceval as pcvl

RECYCLING = "use_photon_recycling"
#: More than this is published of no machine.
_MOST_FIGURES = 200


@final
@dataclass(frozen=True)
class PlatformDetails:
    """What a provider says about one of its machines.

    :param status: in the provider's words; ``"available"`` when it takes jobs.
    :param command: the sampling command it offers.
    :param version: of the payload it understands, 1 or 2.
    :param performance: as published, in Perceval's keys.
    :param architecture_hash: SHA-256 of the published architecture, ``""`` without one.
    """

    name: str
    status: str
    simulated: bool
    max_modes: int
    max_photons: int
    max_shots: int | None
    detector: Detector
    command: str
    version: int
    parameters: frozenset[str]
    performance: Mapping[str, Any]
    architecture_hash: str = ""

    @classmethod
    def of(cls, name: str, details: Mapping[str, Any]) -> PlatformDetails:
        """Read the provider's details.

        :raises DeviceUnavailable: when the platform cannot sample.
        """
        specs = details.get("specs")
        specs = specs if isinstance(specs, dict) else {}
        kind = str(details.get("type") or specs.get("type") or "simulator").lower()
        commands = command_names(specs)
        command = next((c for c in ("sample_count", "samples") if c in commands), None)
        if command is None:
            known = one_line(", ".join(sorted(commands))) or "none"
            raise DeviceUnavailable(
                f"{name} offers no sampling command (its commands: {known}). Choose another device."
            )
        limits = specs.get("constraints")
        limits = limits if isinstance(limits, dict) else {}
        performance, parameters = details.get("perfs"), specs.get("parameters")
        return cls(
            name=name,
            status=str(details.get("status") or "").lower(),
            simulated=kind == "simulator",
            max_modes=_limit(limits, "max_mode_count", 64),
            max_photons=_limit(limits, "max_photon_count", 16),
            max_shots=_limit(limits, "max_sample_count", None),
            detector=_detector(specs, simulated=kind == "simulator"),
            command=command,
            version=2 if "commands" in specs else 1,
            parameters=frozenset(str(p) for p in parameters) if isinstance(parameters, dict | list) else frozenset(),
            performance=_figures(performance),
            architecture_hash=_hash(specs.get("architecture")),
        )

    @classmethod
    def gone(cls, name: str) -> PlatformDetails:
        """Of a platform that says nothing any more: enough to read what its jobs bring."""
        simulated = not name.startswith("qpu")
        detector = _detector({}, simulated=simulated)
        return cls(name, "retired", simulated, 64, 16, None, detector, "sample_count", 1, frozenset(), {})


def _figures(found: object) -> dict[str, Any]:
    """What a provider publishes of a machine: numbers as they are, words in one line, no more than a page."""
    pairs = list(found.items())[:_MOST_FIGURES] if isinstance(found, dict) else []
    plain = (int, float, type(None))
    return {one_line(key, 80): value if isinstance(value, plain) else one_line(value) for key, value in pairs}


def _hash(text: object) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(text, str) and text else ""


def _limit(limits: Mapping[str, Any], key: str, default: Any) -> Any:
    value = limits.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _detector(specs: Mapping[str, Any], *, simulated: bool) -> Detector:
    """From the architecture, the only place that says it; without one, a simulator resolves and a QPU does not."""
    if isinstance(specs.get("detector"), str):
        named = specs["detector"].lower()
        return named if is_detector(named) else "pnr"
    try:
        architecture = perceval_object(specs.get("architecture"), HARDWARE_KINDS)
    except UnusableAnswer:
        architecture = None
    if architecture is None or not any(architecture.detectors):
        return "pnr" if simulated else "threshold"
    try:
        return efficiencies_from_perceval(architecture.detectors)[1]
    except ConfigError:  # of several kinds, or layered ones: counts above one are read as they come
        return "threshold" if architecture.detection_type.name == "Threshold" else "pnr"


def encode_payload(
    programs: Sequence[Program], *, shots: int, name: str, platform: PlatformDetails
) -> tuple[dict[str, Any], Sent]:
    """The body that creates a job, and what is needed to read its answer.

    Raw counts are asked for: a filter of one click, no mitigation, photon recycling off. ``max_samples`` equals
    ``max_shots``, because with that filter every shot is a sample.
    """
    with LOCK:
        return _encoded(programs, shots, name, platform)


def _encoded(
    programs: Sequence[Program], shots: int, name: str, platform: PlatformDetails
) -> tuple[dict[str, Any], Sent]:
    from perceval.runtime import Computation, ComputationIterator

    mesh, phases = common_mesh(programs)
    circuit = mesh.to_perceval(None)
    iterations = _iterations(circuit, programs, phases, shots=shots)
    computation = Computation(_command(platform.command), _experiment(circuit, iterations[0]["input_state"]))
    computation.add_params(max_samples=shots, max_shots=shots)
    computation.job_name = name
    iterator = ComputationIterator(computation)
    iterator.iterations.extend(iterations)  # add_iteration checks each phase in turn, 40 ms for 81 of them
    sent = Sent(tuple(programs), tuple(i | {"input_state": str(i["input_state"])} for i in iterations))
    return _body(iterator, platform, name), sent


def common_mesh(programs: Sequence[Program]) -> tuple[Mesh, list[FloatArray]]:
    """One mesh that runs every program, and the phases of each on it.

    Programs on one mesh keep it. Programs on several go on the universal mesh of the largest size, by Clements'
    decomposition of their unitaries, so that one job can run them all, each on modes 0..M-1.

    :returns: the mesh, and phases ``(R, declared)``.
    """
    if len({p.mesh for p in programs}) == 1:
        return programs[0].mesh, [p.phases for p in programs]
    mesh = RectangularMesh(max(p.modes for p in programs))
    return mesh, [mesh.phases_of(embed(p.mesh.unitary(p.phases), mesh.modes)) for p in programs]


def _iterations(
    circuit: pcvl.Circuit, programs: Sequence[Program], phases: Sequence[FloatArray], *, shots: int
) -> list[dict[str, Any]]:
    import perceval as pcvl

    wired = {parameter.name for parameter in circuit.get_parameters()}
    modes = circuit.m
    return [
        {
            # A brick-wall mesh declares phases that no component has, and the circuit knows nothing of.
            "circuit_params": {f"phi{i}": float(x) for i, x in enumerate(own) if f"phi{i}" in wired},
            "input_state": pcvl.BasicState([int(m in program.input_modes) for m in range(modes)]),
            "max_samples": shots,
            "max_shots": shots,
        }
        for program, own in zip(programs, phases, strict=True)
    ]


def _experiment(circuit: pcvl.Circuit, state: pcvl.BasicState) -> pcvl.Experiment:
    import perceval as pcvl

    experiment = pcvl.Experiment(circuit)
    experiment.min_detected_photons_filter(1)
    experiment.with_input(state)
    return experiment


def _command(name: str) -> Any:
    from perceval.runtime import CommandFactory

    return getattr(CommandFactory, name)


def _body(iterator: Any, platform: PlatformDetails, name: str) -> dict[str, Any]:
    """The envelope around a payload of the version that the platform understands."""
    from perceval.runtime import PayloadGenerator, PayloadUpdater, PlatformSpecs
    from perceval.serialization import serialize

    raw = {RECYCLING: False} if RECYCLING in platform.parameters else {}
    payload = PayloadGenerator.from_computation(iterator, mitigations=[], parameters=raw)
    shown = {"command": iterator.command.name, **iterator.parameters}  # the cloud shows these; it runs the computation
    if platform.version == 1:
        specs = PlatformSpecs({"available_commands": [platform.command]})
        payload = PayloadUpdater.update_payload(payload | shown, specs, target_payload_version=1)
        del payload["mitigations"]  # unknown to version 1, which only has the recycling parameter
    else:
        payload = {key: _archive(value) for key, value in payload.items()} | shown
    names = {"platform_name": platform.name, "job_name": name, "job_group_name": None}
    body: dict[str, Any] = serialize(PayloadGenerator.generate_global_data(payload, names))
    return body


@final
class _Places(dict[int, int]):
    """Identities of the objects of an archive with their places: what Perceval looks up in a list, linearly."""

    def append(self, identity: int) -> None:
        self[identity] = len(self)

    def index(self, identity: int) -> int:
        return self[identity]


def _archive(value: Any) -> str:
    from perceval.serialization import OutputArchive, Serialization

    archive = OutputArchive()
    archive.ids = _Places()
    Serialization.serialize(value, archive)
    text: str = archive.to_text()
    return text
