"""Seeds: small, to the bit, and refused when anything in them is not what it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from qpu_sdk.errors import DataError
from qpu_sdk.export.cut import Cut
from qpu_sdk.export.seed import GENERATORS, Frequencies, WeightSeed, expand_seed, seed_bytes
from qpu_sdk.export.weights import SEED_KEY, Model, Use, load_model, model_bytes
from qpu_sdk.runs.finish import metadata_of
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.qnn import qnns_of
from qpu_sdk.training.targets import Target, paper_cnn
from qpu_sdk.versions import versions

SIZE = 50


def seed(kind: str = "tapered", **changes: Any) -> WeightSeed:
    rng = np.random.default_rng(1)
    counts = [rng.integers(0, 400, 10) for _ in range(2)]
    values: dict[str, Any] = {
        "kind": kind,
        "bond_dim": 2,
        "size": SIZE,
        "parameters": dict(GENERATORS[kind](SIZE, 2, seed=3).state_dict()),
        "phases": torch.from_numpy(rng.uniform(0, 6, 12)),
        "measured": [Frequencies.of(n / n.sum(), n) for n in counts],
        "threads": 1,
    }
    return WeightSeed(**values | changes)


def model(own: WeightSeed) -> Model:
    """Two generated tensors, a tied one, and what is not generated."""
    made = Cut((("layer.weight", (4, 12), "float32"), ("layer.bias", (2,), "float16")), {}).tensors(own.weights())
    kept = {"norm.mean": torch.tensor([0.5, 0.25]), "norm.steps": torch.tensor(7), "mask": torch.tensor([True, False])}
    return Model(made | kept | {"tied": made["layer.weight"]}, {"target": "(given)", "test_accuracy": "0.9"})


@pytest.mark.parametrize("kind", sorted(GENERATORS))
def test_a_seed_makes_the_file_again(kind: str, tmp_path: Path) -> None:
    own = seed(kind)
    (tmp_path / "s").write_bytes(seed_bytes(own, model(own)))
    found = expand_seed(tmp_path / "s")
    assert found.identical
    assert found.content == model_bytes(model(own))
    assert found.sha256 == hashlib.sha256(found.content).hexdigest()
    assert found.seed_size == (tmp_path / "s").stat().st_size


def test_the_seed_of_the_default_model_is_under_6_kb(tmp_path: Path) -> None:
    """Everything of its size: 657 numbers, counts of a million shots, the metadata of a run."""
    config, target, rng = load_config(), Target(paper_cnn()), np.random.default_rng(1)
    qnns = qnns_of(config)
    counts = [rng.multinomial(config.training.final_shots, rng.dirichlet(np.ones(q.outcomes))) for q in qnns]
    generator = GENERATORS[config.generator.kind](target.size, config.generator.bond_dim, seed=1)
    own = WeightSeed(
        kind=config.generator.kind,
        bond_dim=config.generator.bond_dim,
        size=target.size,
        parameters=generator.state_dict(),
        phases=torch.from_numpy(rng.uniform(0, 6, sum(q.mesh.declared for q in qnns))),
        measured=[Frequencies.of(n / n.sum(), n) for n in counts],
        threads=1,
    )
    assert sum(t.numel() for t in own.parameters.values()) + own.phases.numel() == 657
    weights = own.weights()
    used = Use((1, 28, 28), 255.0, 0.0, target.probe((1, 28, 28), weights).tolist()).to_metadata()
    metadata = metadata_of(config, test_accuracy=0.959, versions=versions(), used=used)
    made = Model(target.state(weights), metadata)
    (tmp_path / "s").write_bytes(seed_bytes(own, made))
    assert (tmp_path / "s").stat().st_size < 6000
    assert expand_seed(tmp_path / "s").content == model_bytes(made)


def test_a_seed_is_no_model_and_the_way_is_told(tmp_path: Path) -> None:
    own = seed()
    (tmp_path / "s").write_bytes(seed_bytes(own, model(own)))
    with pytest.raises(DataError, match=r"is a seed\. Make the model of it first: qpu-sdk expand .*s\."):
        load_model(tmp_path / "s")


def test_counts_are_kept_as_the_smallest_whole_numbers_that_hold_them() -> None:
    for largest, kind in ((200, torch.uint8), (30_000, torch.int16), (40_000, torch.int32), (2**40, torch.int64)):
        counts = np.array([largest, 1, 0])
        found = Frequencies.of(counts / counts.sum(), counts)
        assert found.values.dtype == kind
        assert found.probabilities.numpy().tobytes() == (counts / counts.sum()).tobytes()


def test_probabilities_that_are_no_frequencies_are_kept_themselves() -> None:
    p = np.array([0.5, 0.3, 0.2])
    for counts in (None, np.array([5, 3, 3])):
        found = Frequencies.of(p, counts)
        assert found.values.dtype == torch.float64
        assert found.probabilities.numpy().tobytes() == p.tobytes()


def test_a_seed_of_other_weights_is_not_made() -> None:
    own = seed()
    other = dict(own.parameters)
    other["cores"] = torch.nextafter(other["cores"], torch.tensor(9.0))
    with pytest.raises(DataError, match=r"to the bit.*Use|use --format safetensors"):
        seed_bytes(seed(parameters=other), model(own))


def test_a_model_of_another_machine_is_written_and_said_to_be(tmp_path: Path) -> None:
    """The header's SHA-256 is what other rounding would not meet."""
    own = seed()
    change(tmp_path, seed_bytes(own, model(own)), header={"sha256": "0" * 64})
    found = expand_seed(tmp_path / "s")
    assert not found.identical
    assert found.content == model_bytes(model(own))


@pytest.mark.parametrize(
    ("header", "tensors"),
    [
        ({"schema_version": 9}, {}),
        ({"kind": "nonsense"}, {}),
        ({"bond_dim": 3}, {}),
        ({"threads": "many"}, {}),
        ({"generated": [["layer.weight", [3], "float32"]]}, {}),
        ({"content": "0"}, {}),
        ({}, {"phases": torch.zeros(12)}),
        ({}, {"counts.0": torch.zeros(10, dtype=torch.int16)}),
        ({}, {"kept.norm.mean": torch.zeros(2)}),
    ],
)
def test_a_damaged_seed_is_one_line(tmp_path: Path, header: dict[str, Any], tensors: dict[str, Any]) -> None:
    own = seed()
    change(tmp_path, seed_bytes(own, model(own)), header=header, tensors=tensors)
    with pytest.raises(DataError, match=r"damaged|schema version") as told:
        expand_seed(tmp_path / "s")
    assert "\n" not in str(told.value)


def change(
    folder: Path, content: bytes, *, header: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None
) -> None:
    path = folder / "s"
    path.write_bytes(content)
    with safe_open(path, framework="pt") as file:
        known = json.loads(file.metadata()[SEED_KEY])
    save_file(load_file(path) | (tensors or {}), path, metadata={SEED_KEY: json.dumps(known | header)})


@pytest.mark.parametrize("content", [b"", b"no seed at all", None])
def test_what_is_no_seed_is_told(tmp_path: Path, content: bytes | None) -> None:
    own = seed()
    (tmp_path / "s").write_bytes(model_bytes(model(own)) if content is None else content)
    with pytest.raises(DataError, match=r"is no seed|cannot be read"):
        expand_seed(tmp_path / "s")
    with pytest.raises(DataError, match="does not exist"):
        expand_seed(tmp_path / "none")


def test_random_numbers_and_threads_stay_as_they_were(tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    own = seed(threads=threads + 1)
    (tmp_path / "s").write_bytes(seed_bytes(own, model(own)))
    expand_seed(tmp_path / "s")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
