"""What people type: examples below the help of every command, as a shell takes them, zsh too."""

from __future__ import annotations

from collections.abc import Mapping

#: Without the name of the program, by the command's own.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "doctor",
        "init mine.toml",
        "train mine.toml --controls",
        "predict runs/mine digit.png",
    ),
    "init": ("init mine.toml", "init paper.toml --example paper", "init --example load_model"),
    "config": (
        "config examples/lean.toml --set spsa.steps=0",
        "config --schema > qpu-sdk.schema.json",
    ),
    "train": (
        "train",
        "train mine.toml --seed 1 --controls",
        "train --data mine.npz --set generator.bond_dim=4 --out runs/mine",
        "train --set device='local:slos?noise=ascella'",
    ),
    "resume": ("resume runs/mine", "resume runs/belenos --wait --set budget.credits=8"),
    "plan": (
        "plan mine.toml --set device='local:slos?transmittance=0.3'",
        "plan examples/belenos.toml --offline --json",
    ),
    "sweep": (
        "sweep mine.toml --over generator.bond_dim=1..10 --over seed=1..5",
        "sweep mine.toml --over seed=1..5 --dry-run",
    ),
    "evaluate": (
        "evaluate runs/mine",
        "evaluate model.safetensors --data other.npz",
        "evaluate runs/mine --target net.py:network",
    ),
    "predict": (
        "predict runs/mine digit.png scans/",
        "predict runs/mine 'scans/*.png' --csv > labels.csv",
        "predict model.safetensors batch.npy --probabilities",
        "predict runs/mine - < digit.png",
    ),
    "samples": ("samples runs/mine --out digits", "samples runs/mine --count 3 --json"),
    "export": (
        "export runs/mine --format onnx --out digits.onnx",
        "export runs/mine --format all",
    ),
    "expand": ("expand mine.seed.safetensors --out model.safetensors",),
    "report": ("report runs/mine", "report runs/ --out all.html"),
    "devices": ("devices", "devices 'local:slos?noise=ascella'"),
    "run": (
        "run --random isometry --modes 6 --photons 3",
        "run program.json --device 'local:slos?noise=ascella' --shots 1000000",
        "run --random rectangular --number 5 --save programs.json",
    ),
    "calibrate": (
        "calibrate 'local:slos?noise=ascella' --modes 9 --photons 4",
        "calibrate --show record.json --page record.html",
        "calibrate --history 'local:slos?noise=ascella'",
        "calibrate --compare monday.json tuesday.json",
        "calibrate local:slos --history --page history.html",
        "calibrate --from runs/mine",
    ),
    "compare": ("compare 'local:slos?noise=ascella' --record r.json --page p.html",),
    "mitigate": (
        "mitigate counts.json --record record.json",
        "mitigate counts.csv --program program.json --record r.json",
    ),
    "emulate": (
        "emulate --port 8080",
        "emulate --faults examples/faults.toml --credits 20",
    ),
    "doctor": ("doctor", "doctor --json"),
    "runs": ("runs list",),
    "runs list": ("runs list", "runs list sweeps/noise --json"),
    "jobs": ("jobs list", "jobs list --all"),
    "jobs list": ("jobs list --run runs/belenos", "jobs list --all --json"),
    "jobs show": ("jobs show 0191e3f0 --run runs/belenos",),
    "jobs attach": ("jobs attach 0191e3f0 --run runs/belenos",),
    "jobs forget": (
        "jobs forget qpu-sdk-1a2b3c --run runs/belenos",
        "jobs forget 0191e3f0 --lost",
    ),
    "jobs cancel": ("jobs cancel --run runs/belenos", "jobs cancel 0191e3f0"),
}


def examples_below(name: str) -> str:
    """The text below the help of a command; each paragraph is a line of it.

    >>> examples_below("doctor").split("\\n\\n")[1]
    'qpu-sdk doctor'
    """
    lines = [f"qpu-sdk {example}" for example in EXAMPLES.get(name, ())]
    if not lines:  # which a test tells of: it is no reason that nothing works
        return ""
    return "\n\n".join([f"Example{'s' * (len(lines) > 1)}:", *lines])
