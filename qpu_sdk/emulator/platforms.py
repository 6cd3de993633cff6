"""The platforms of the emulated cloud: the details they serve, and what they refuse at creation."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ..devices.machines import ASSUMED, machine_of
from ..photonics.counts import Detector
from ..photonics.detectors import detectors_to_perceval
from ..photonics.noise import Noise, by_mode, mean_pair
from ..photonics.turns import LOCK
from .chip import EmulatedChip
from .payloads import Submission
from .settings import CloudSettings

#: Largest ``max_duration`` a client may ask for, seconds.
_LONGEST_JOB_S = 864_000


@final
class CloudRefusal(Exception):
    """The vendor's answer to a request that is refused.

    :param status: HTTP status code.
    :param error: the vendor's text.
    """

    def __init__(self, status: int, error: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(error)
        self.status, self.error, self.detail = status, error, detail or {}


@final
@dataclass(frozen=True)
class EmulatedPlatform:
    """One platform.

    :param details: the answer to a request for its details, without its status.
    :param commands: names of the commands it takes.
    """

    name: str
    platform_id: str
    details: dict[str, Any]
    commands: tuple[str, ...]
    chip: EmulatedChip


def emulated_platform(name: str, settings: CloudSettings, *, payload_version: int) -> EmulatedPlatform:
    """Build a platform: as large as the machine in its name; ``sim:ideal`` resolves numbers.

    :param payload_version: 1 leaves the key ``commands`` out, so that Perceval 1.3 sends v1 payloads.
    """
    machine = machine_of(name) or ASSUMED
    detector = settings.detector_of(name)
    is_qpu = name.startswith("qpu:")
    chip = EmulatedChip(
        platform=name,
        seed=settings.seed,
        noise=settings.noise_of(name),
        detector=detector,
        takes_noise=not is_qpu,
        max_modes=machine.modes,
        max_photons=machine.photons,
    )
    commands = ("sample_count", "samples") if is_qpu else ("sample_count", "samples", "probs")
    platform_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.emulated.invalid"))  # the same in every process
    details = {
        "id": platform_id,
        "name": name,
        "type": "qpu" if is_qpu else "simulator",
        "perfs": {} if detector == "pnr" else _performances(settings.published_noise(name)),
        "specs": _specifications(chip, commands, payload_version),
    }
    return EmulatedPlatform(name, platform_id, details, commands, chip)


def _performances(noise: Noise) -> dict[str, Any]:
    """What the platform publishes of itself, in Perceval's keys."""
    if noise.modes is None:
        figures = {"Transmittance (%)": noise.click_probability, "HOM (%)": mean_pair(noise.indistinguishability)}
        return _percent(figures | {"g2 (%)": noise.g2})
    t_in, t_out = (by_mode(value, noise.modes) for value in (noise.transmittance, noise.efficiency))
    lit = np.flatnonzero(t_in)
    i = mean_pair(noise.at(lit, modes=noise.modes).indistinguishability)  # no photon comes from the others
    t = noise.brightness * float(t_in[lit].mean()) if len(lit) else 0.0
    rows = {"t_in": (100 * t_in).tolist(), "t_out": (100 * t_out).tolist()}
    return _percent({"Transmittance (%)": t, "HOM (%)": i, "g2 (%)": noise.g2}) | {"Transmission per mode (%)": rows}


def _percent(values: dict[str, float]) -> dict[str, Any]:
    return {key: round(100.0 * value, 6) for key, value in values.items()}


def _specifications(chip: EmulatedChip, commands: tuple[str, ...], version: int) -> dict[str, Any]:
    from perceval import PMetadata
    from perceval.runtime import CommandFactory, PlatformSpecs
    from perceval.runtime.platform_specs import serialize_specs_backward_compatibility

    modes, photons, hardware = chip.max_modes, chip.max_photons, chip.detector != "pnr"
    specs = PlatformSpecs()
    specs["available_commands"] = list(commands)
    specs["constraints"] = {
        "max_mode_count": modes,
        "min_mode_count": 1,
        "max_photon_count": photons,
        "min_photon_count": 1,
        "support_multi_photon": not hardware,
        "max_sample_count": None,
    }
    specs["parameters"] = {
        "min_detected_photons": "minimum number of clicks of a sample",
        "use_photon_recycling": "accepted; photon recycling is not emulated",
        "compute_physical_logical_perf": "return physical_perf and logical_perf too",
    }
    specs["min_client_version"] = "1.0.0"
    specs["pcvl_version"] = PMetadata.short_version()
    specs["description"] = f"emulation of {chip.platform} on this machine"
    if hardware:
        specs["architecture"] = _architecture(modes, photons, chip.detector)
    if version == 2:
        specs["commands"] = [getattr(CommandFactory, name) for name in commands]
        specs["known_mitigations"] = []
        specs["default_mitigations"] = []
    # Once through JSON: what is served is then plain data, and no request pays for Perceval's serialiser.
    with LOCK:
        served: dict[str, Any] = json.loads(json.dumps(serialize_specs_backward_compatibility(specs)))
    return served


def _architecture(modes: int, photons: int, detector: Detector) -> Any:
    """The chip as an experiment: any unitary (the identity stands for it), photons in every other mode, detectors."""
    import perceval as pcvl

    experiment = pcvl.Experiment(modes, name="architecture")
    experiment.add(0, pcvl.Unitary(pcvl.Matrix.eye(modes)))
    for mode, one in enumerate(detectors_to_perceval(np.ones(modes), detector)):
        experiment.add(mode, one)
    with LOCK:
        experiment.with_input(pcvl.BasicState([int(m % 2 == 0 and m < 2 * photons) for m in range(modes)]))
    return experiment


def check_request(body: object) -> dict[str, Any]:
    """The body of a create request as the vendor checks it first.

    :raises CloudRefusal: with the vendor's status code and text.
    """
    if not isinstance(body, dict):
        raise CloudRefusal(400, "Invalid payload, expected a json object")
    for key in ("job_name", "payload"):
        if body.get(key) is None:
            raise CloudRefusal(422, "Validation error", {"json": {key: ["Missing data for required field."]}})
    if not isinstance(body["payload"], dict):
        raise CloudRefusal(400, "Invalid payload, expected a json object")
    if not body.get("platform_name") and not body.get("platform_id"):
        raise CloudRefusal(400, "Require platform_id or platform_name")
    return body


def check_payload(payload: dict[str, Any], platform: EmulatedPlatform) -> None:
    """What the vendor's web server can check without Perceval.

    :raises CloudRefusal: with the vendor's status code and text.
    """
    command, shots, iterator = payload.get("command"), payload.get("max_shots"), payload.get("iterator")
    if command not in platform.commands:
        raise CloudRefusal(400, f"Command '{command}' is not available on platform '{platform.name}'")
    if iterator is not None and (not isinstance(iterator, list) or not iterator):
        raise CloudRefusal(400, "Invalid iterator: must be a non-empty list")
    if not isinstance(shots, int) or isinstance(shots, bool) or shots < 1:
        raise CloudRefusal(400, "Invalid max_shots, should be a positive number")


def check_shots(payload: dict[str, Any], submission: Submission | None, limit: int | None) -> None:
    """Refuse more shots per iteration than the platform allows.

    :raises CloudRefusal: when an iteration asks for more.
    """
    settings = submission.settings if submission else ()
    asked = [payload["max_shots"], *(setting.max_shots for setting in settings)]
    if limit is not None and max(asked) > limit:
        raise CloudRefusal(400, f"Max shots must less than or equal to {limit}")


def job_limit(body: dict[str, Any], limit_s: float | None) -> float:
    """Simulated seconds that the job may run: the platform's limit and the client's ``max_duration``.

    :raises CloudRefusal: with the vendor's status code and text.
    """
    asked, limit = body.get("max_duration"), math.inf if limit_s is None else limit_s
    if asked is None:
        return limit
    if not isinstance(asked, int | float) or isinstance(asked, bool) or asked <= 0:
        raise CloudRefusal(400, "Max duration must not be zero")
    if asked > _LONGEST_JOB_S:
        raise CloudRefusal(400, f"Max duration too large, exceeding {_LONGEST_JOB_S}")
    if asked > limit:
        raise CloudRefusal(400, f"Max_duration {asked}(s) exceeds the platform limit of {limit:g}(s)")
    return float(asked)
