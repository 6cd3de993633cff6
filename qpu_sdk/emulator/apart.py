"""Simulations by Perceval: what they take is estimated first, and long ones run in a process of their own.

Perceval's simulator holds Python's lock while it runs and takes memory until there is none, so a long one would keep
everything else in the process waiting, and may end it.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from ..devices.perceval_texts import read, written
from ..errors import ConfigError
from ..photonics.noise import Noise
from ..photonics.turns import LOCK

#: Outcomes of a simulation, a third of a kilobyte each, and their products with emissions, some microseconds each.
MOST_OUTCOMES, MOST_WORK = 500_000, 10_000_000
#: More work than this is done in a process of its own, which may take this much memory, bytes, and time, seconds.
LONG_WORK, MEMORY, TIME_S = 500_000, 4 * 2**30, 120.0
_COMMAND = [sys.executable, "-m", "qpu_sdk.emulator.apart"]


def simulated(experiment: Any, noise: Noise, precision: float) -> dict[str, Any]:
    """Exact probabilities and performances, as Perceval's computers answer ``probs``.

    :param experiment: of Perceval.
    :raises ConfigError: when it would take, or took, too much memory or time.
    """
    if work_of(experiment, noise) > LONG_WORK:
        return _apart(experiment, noise, precision)
    with LOCK:  # a simulator of circuits that are fed forward sets inputs, as whoever reads a text does
        return _by_perceval(experiment, noise.to_perceval(), precision)


def work_of(experiment: Any, noise: Noise) -> float:
    """Outcomes of an experiment times what its source may emit.

    :raises ConfigError: when either are too many to simulate.
    """
    photons, terms = _photons(experiment.input_state)
    outcomes = outcomes_of(experiment, experiment.input_state)
    # Each photon is like the others or not, and may have a second one with it.
    emissions = 1.0 if noise.indistinguishability == 1.0 and noise.g2 == 0.0 else (2.0 + 2.0 * noise.g2) ** photons
    work = outcomes * terms * emissions
    if outcomes > MOST_OUTCOMES or work > MOST_WORK:
        raise ConfigError(
            f"{photons} photons have {outcomes} outcomes, {work:.1g} with all that their source emits; the emulator "
            f"simulates {MOST_OUTCOMES} and {MOST_WORK:.1g}. Use fewer photons or modes."
        )
    return work


def outcomes_of(experiment: Any, state: Any) -> int:
    """Most outcomes that an experiment can have with this input state, all photons seen."""
    modes, factor = experiment.circuit_size, 1
    for _, component in experiment.components:
        kind = type(component).__name__
        modes += kind == "LC"  # where the photons go that it loses
        factor *= 2 if kind in ("TD", "FFConfigurator", "FFCircuitProvider") else 1
    photons, _ = _photons(state)
    return math.comb(modes + photons - 1, photons) * factor


def _photons(state: Any) -> tuple[int, int]:
    """Most photons of an input state, and the number of states that it is made of."""
    if not hasattr(state, "keys"):
        return state.n, 1
    inner = [_photons(one) for one in state.keys()]  # noqa: SIM118  (Perceval's states have no other iteration)
    return max(photons for photons, _ in inner), sum(terms for _, terms in inner)


def _by_perceval(experiment: Any, noise: Any, precision: float) -> dict[str, Any]:
    from perceval.runtime import SimulatedComputer

    computer = SimulatedComputer("SLOS")
    computer.noise = noise
    computer.compute_physical_logical_perf(True)
    result: dict[str, Any] = computer.probs(experiment, precision=precision)
    return result


def _apart(experiment: Any, noise: Noise, precision: float) -> dict[str, Any]:
    import perceval as pcvl

    asked = {"experiment": written(experiment), "noise": written(noise.to_perceval()), "precision": precision}
    try:
        run = subprocess.run(_COMMAND, input=json.dumps(asked), capture_output=True, text=True, timeout=TIME_S)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"the simulation took longer than {TIME_S:g} s. Use fewer photons or modes.") from None
    if run.returncode != 0:
        why = (run.stderr.strip().splitlines() or [f"code {run.returncode}"])[-1]
        raise ConfigError(f"the simulation ended early ({why}). Use fewer photons or modes.")
    found: dict[str, Any] = json.loads(run.stdout)
    states = [pcvl.FockState(state) for state in found["states"]]
    return found | {"results": pcvl.BSDistribution(dict(zip(states, found["p"], strict=True)))}


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # not every system has limits, and some have lower ones
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Answer one request on the standard streams."""
    if hasattr(signal, "pthread_sigmask"):  # a command that waits for Ctrl-C in its own way leaves it blocked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _limit_memory()
    asked = json.load(sys.stdin)
    noise = read(asked["noise"], frozenset({"NoiseModel"}))
    result = _by_perceval(read(asked["experiment"], frozenset({"Experiment"})), noise, asked["precision"])
    states, p = zip(*result.pop("results").items(), strict=True)
    performances = {key: result[key] for key in ("physical_perf", "logical_perf")}
    json.dump({"states": [list(state) for state in states], "p": p, **performances}, sys.stdout)


if __name__ == "__main__":
    main()
