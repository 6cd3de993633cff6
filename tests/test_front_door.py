"""The front door: what the documentation writes is what runs, and importing it costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from perceval.runtime import SimulatedComputer
from torch import nn

import qpu_sdk as qs
from qpu_sdk.errors import CheckpointError, ConfigError, DataError, DeviceUnavailable, ProgramError
from qpu_sdk.export.structure import describe
from qpu_sdk.training.control_names import STANDARD_CONTROLS

from .places import PACKAGE, ROOT

#: A run of seconds: two small circuits, few epochs.
SHORT: dict[str, Any] = {
    "qnn": [{"modes": 6, "photons": 2}, {"modes": 7, "photons": 2}],
    "training": {"warm_start_epochs": 2, "trials": 1, "rounds": 1, "generator_epochs": 1, "final_epochs": 2},
    "spsa": {"steps": 1, "shots": 1000, "images": 50},
}


def stripes(n: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:8, :8]
    labels = rng.integers(2, size=n)
    patterns = np.stack([row % 4 < 2, column % 4 < 2])
    return np.clip(patterns[labels] * 0.6 + rng.uniform(0, 0.4, (n, 8, 8)), 0, 1), labels


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def data() -> qs.Dataset:
    return qs.Dataset.of(*stripes(200, 1), *stripes(100, 2))


# -- the module itself -------------------------------------------------------------------------------------


def test_every_name_is_there_and_there_are_some_forty() -> None:
    names = [name for name in qs.__all__ if not name.startswith("_")]
    assert 28 <= len(names) <= 42
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(qs, name).__doc__
        assert name in dir(qs)


def test_a_name_stays_what_it_is_whatever_is_imported() -> None:
    """A folder of ours of the same name would take its place as soon as anything in it is loaded."""
    code = "import qpu_sdk.cli.app, qpu_sdk.runs.page, qpu_sdk as qs; print(all(map(callable, (qs.report, qs.plan))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert not folders & set(qs.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {a.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert seen == qs._HOMES


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'perceval', 'numpy'}"
    code = f"import sys, qpu_sdk; print(sorted({{n.partition('.')[0] for n in sys.modules}} & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("calibrat", "calibrate"), ("program", "Program"), ("Isometrymesh", "IsometryMesh"), ("zzz", "dir")],
)
def test_a_name_that_is_not_there_names_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=meant):
        getattr(qs, wrong)


# -- as the documentation writes it ------------------------------------------------------------------------


def test_run_calibrate_mitigate(tmp_path: Path) -> None:
    program = qs.Program.random(qs.IsometryMesh(modes=6, photons=3), seed=1)
    device = qs.open_device("local:slos?noise=ascella", seed=1)
    assert repr(device) == "LocalDevice('local:slos?noise=ascella')"
    counts = device.run(program, shots=200_000)
    record = qs.calibrate(device, modes=6, inputs=program.input_modes, shots=200_000, seed=0)
    found = qs.mitigate(counts, record, program=program, seed=0)
    assert 0.0 < qs.total_variation(found.probabilities, program.probabilities()) < 1.0
    found.plot(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert len(str(found).splitlines()) > 5
    twin = qs.twin(record, seed=2)
    assert twin.run(program, shots=1000).shots == 1000
    path = qs.CalibrationStore(tmp_path).save(record)
    assert qs.load_record(path) == record


def test_train_resume_and_load(tmp_path: Path, data: qs.Dataset) -> None:
    net = network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    config = qs.RunConfig(**SHORT, seed=1)
    run = qs.train(config, tmp_path / "stripes", target=net, data=data)
    assert 0.0 <= run.summary.test_accuracy <= 1.0
    assert run.report.is_file()
    assert all((before[name] == tensor).all() for name, tensor in net.state_dict().items())
    again = qs.resume(tmp_path / "stripes", target=network(), data=data)
    assert again.summary.test_accuracy == run.summary.test_accuracy
    loaded = qs.load_model(tmp_path / "stripes").module()
    assert repr(loaded) == repr(net)
    assert repr(run.model) == "Model(target='(given)', tensors=4, numbers=270)"
    for name, tensor in run.model.module().state_dict().items():
        assert (loaded.state_dict()[name] == tensor).all()
    x, y = stripes(100, 2)
    import torch

    right = (loaded(torch.tensor(x[:, None], dtype=torch.float32)).argmax(dim=1).numpy() == y).mean()
    assert right == pytest.approx(run.summary.test_accuracy)


def test_a_run_is_resumed_with_what_it_began_with(tmp_path: Path, data: qs.Dataset) -> None:
    config = qs.RunConfig(**SHORT, seed=1)
    qs.train(config, tmp_path / "run", target=network(), data=data)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Tanh(), nn.Linear(3, 2))
    for given, words in (
        ({"target": other, "data": data}, "target"),
        ({"target": network(), "data": qs.Dataset.of(*stripes(200, 3), *stripes(100, 2))}, "images"),
        ({"data": data}, "target="),
        ({"target": network()}, "data="),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            qs.resume(tmp_path / "run", **given)
        assert "\n" not in str(caught.value)


def train_and_open(path: Path, net: nn.Module, data: qs.Dataset) -> Any:
    """The network in a run's file, or why there is none, and that the one passed from Python gives its logits."""
    import torch

    run = qs.train(qs.RunConfig(**SHORT, seed=1), path, target=net, data=data)
    images = torch.tensor(stripes(100, 2)[0][:, None], dtype=torch.float32)
    with torch.no_grad():
        labels = run.model.module(net)(images).argmax(dim=1).numpy()
    assert (labels == stripes(100, 2)[1]).mean() == pytest.approx(run.summary.test_accuracy)
    return run.model


def test_a_file_never_gives_another_network(tmp_path: Path, data: qs.Dataset) -> None:
    net = network()
    net.register_forward_hook(lambda module, inputs, output: -output)
    with pytest.raises(ConfigError, match="passed from Python"):
        train_and_open(tmp_path / "hook", net, data).module()
    net = network()
    assert isinstance(net[1], nn.Linear)
    net[1].out_features = 4
    net[2].__class__ = Flipped  # torch.nn does not export it
    with pytest.raises(ConfigError, match="passed from Python"):
        train_and_open(tmp_path / "class", net, data).module()


def test_a_structure_with_other_logits_is_left_out(
    tmp_path: Path, data: qs.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))
    monkeypatch.setattr("qpu_sdk.runs.opened.describe", lambda module: describe(other))
    assert "structure" not in train_and_open(tmp_path / "run", network(), data).metadata


class Flipped(nn.Tanh):
    pass


def test_numbers_of_numpy_and_frozen_layers_go_through_a_run(tmp_path: Path, data: qs.Dataset) -> None:
    act = nn.Tanh()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, np.int64(4)), act, nn.Linear(4, 3), act, nn.Linear(3, np.int64(2)))
    net[3].requires_grad_(False)
    kept = net[3].get_parameter("weight").clone()
    controls = {"controls": True}
    run = qs.train(qs.RunConfig(**SHORT, **controls, seed=1), tmp_path / "run", target=net, data=data)
    assert run.summary.target_parameters == 65 * 4 + 4 * 2
    assert (run.model.module().get_parameter("3.weight") == kept).all()
    assert repr(run.model.module()).replace("np.int64(2)", "2") == repr(net).replace("np.int64(2)", "2")
    assert run.summary.control_parameters["plain_network"] == 65 * 4 + 4 * 2
    assert set(run.summary.controls) == {*STANDARD_CONTROLS}


def test_what_is_no_network_leaves_no_folder(tmp_path: Path, data: qs.Dataset) -> None:
    class Pair(nn.Sequential):
        def forward(self, x: Any) -> Any:
            return super().forward(x), None

    config = qs.RunConfig(**SHORT, seed=1)
    targets: list[Any] = [nn.Linear, len, Pair(*network()), network().requires_grad_(False)]
    for target in targets:
        with pytest.raises(ConfigError) as caught:
            qs.train(config, tmp_path / "run", target=target, data=data)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_goes_on(tmp_path: Path, data: qs.Dataset) -> None:
    config = qs.RunConfig(**SHORT, seed=1)
    whole = qs.train(config, tmp_path / "whole", target=network(), data=data)
    seen = []

    def stop(row: Any) -> None:
        seen.append(row)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qs.train(config, tmp_path / "cut", target=network(), data=data, on_progress=stop)
    run = qs.resume(tmp_path / "cut", target=network(), data=data)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]
    assert run.summary.test_accuracy == whole.summary.test_accuracy


def test_plan_says_what_a_run_takes(data: qs.Dataset) -> None:
    planned = qs.plan(qs.RunConfig(**SHORT, seed=1), target=network(), data=data)
    assert planned.total.settings == 2 * (1 + 2 * 4 + 1)
    assert not planned.problems


def test_perceval_objects_go_in_and_out() -> None:
    circuit = pcvl.Circuit(3) // pcvl.BS(0.4) // (1, pcvl.BS(1.1))
    program = qs.Program.from_perceval(circuit, pcvl.BasicState("|1,0,1>"))
    experiment = pcvl.Experiment(circuit)
    experiment.with_input(pcvl.BasicState([1, 0, 1]))
    assert qs.Program.from_perceval(experiment).fingerprint == program.fingerprint
    table = pcvl.BSCount({pcvl.BasicState([1, 1, 0]): 5, pcvl.BasicState([0, 1, 1]): 4})
    counts = qs.Counts.from_perceval(table, photons=2, detector="threshold")
    assert counts.to_perceval() == table
    noise = qs.Noise.from_perceval(pcvl.NoiseModel(transmittance=0.5, g2=0.1))
    assert noise.to_perceval() == pcvl.NoiseModel(transmittance=0.5, g2=0.1)


@pytest.mark.parametrize("kind", ["processor", "computer"])
def test_a_processor_of_perceval_is_a_device(kind: str) -> None:
    noise = pcvl.NoiseModel(transmittance=0.4, indistinguishability=0.9)
    if kind == "processor":
        found: Any = pcvl.Processor("SLOS", 4, noise)
    else:
        found = SimulatedComputer("SLOS")
        found.noise = noise
    program = qs.Program.random(qs.RectangularMesh(4), photons=2, seed=3)
    ours = qs.open_device("local:slos?noise=transmittance:0.4,indistinguishability:0.9&detector=pnr", seed=1)
    theirs = qs.open_device(found, seed=1)
    counts, expected = (device.run(program, shots=200_000) for device in (theirs, ours))
    p, q = qs.post_select(counts), qs.post_select(expected)
    sigma = np.sqrt(p.standard_errors**2 + q.standard_errors**2)
    assert (np.abs(p.probabilities - q.probabilities) < 5 * sigma + 1e-12).all()
    assert qs.open_device(found, seed=1).run(program, shots=200_000).to_json() == counts.to_json()


def test_a_cloud_is_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "rehearsal")
    program = qs.Program.random(qs.IsometryMesh(modes=4, photons=2), seed=1)
    with qs.EmulatedCloud(seed=1, platforms=("sim:ideal",), time_scale=1e4) as cloud:
        device = qs.open_device(f"quandela:sim:ideal?url={cloud.url}", seed=1)
        counts = device.run(program, shots=2000)
    assert counts.shots == 2000
    assert isinstance(device, qs.Device)


def test_a_cloud_is_calibrated_mitigated_and_trained_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: qs.Dataset
) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "rehearsal")
    noise = qs.Noise(transmittance=0.3, indistinguishability=0.9, g2=0.02)
    with qs.EmulatedCloud(seed=1, platforms=("qpu:ascella",), noise=noise, time_scale=1e5) as cloud:
        name = f"quandela:qpu:ascella?url={cloud.url}&poll_s=0.01&max_poll_s=0.05"
        device = qs.open_device(name, seed=1)
        program = qs.Program.random(qs.RectangularMesh(7), (0, 1), seed=2)
        record = qs.calibrate(device, modes=7, inputs=(0, 1), shots=20_000, seed=0, store=tmp_path / "records")
        assert record.origin == "simulated"  # a cloud on this machine is a rehearsal
        found = qs.mitigate(device.run(program, shots=20_000), record, program=program, seed=0)
        assert found.record_id == record.id
        config = qs.RunConfig(**SHORT, seed=1, device=name, mitigation={"record": str(tmp_path / "records")})
        run = qs.train(config, tmp_path / "run", target=network(), data=data)
        assert run.summary.record_ids == [record.id]
        assert run.summary.circuit_settings == qs.plan(config, target=network(), data=data).total.settings
        jobs = len(cloud.jobs)
        qs.resume(tmp_path / "run", target=network(), data=data)
        assert len(cloud.jobs) == jobs  # nothing is paid twice


# -- bad input ---------------------------------------------------------------------------------------------


def test_no_labels_no_parameters_no_shapes(tmp_path: Path, data: qs.Dataset) -> None:
    import torch
    from torch.utils.data import TensorDataset

    config = qs.RunConfig(**SHORT, seed=1)
    images = torch.rand(10, 1, 8, 8)
    with pytest.raises(DataError, match="label"):
        qs.Dataset.of(TensorDataset(images), TensorDataset(images))
    for target, words in (
        (nn.Sequential(nn.Flatten()), "no parameter"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), "lazy"),
    ):
        with pytest.raises(ConfigError, match=words):
            qs.train(config, tmp_path / "run", target=target, data=data)
    assert not (tmp_path / "run").exists()


def test_a_torch_dataset_is_a_dataset() -> None:
    import torch
    from torch.utils.data import TensorDataset

    (x, y), (u, v) = stripes(30, 1), stripes(20, 2)
    sets = [TensorDataset(torch.tensor(a[:, None]), torch.tensor(b)) for a, b in ((x, y), (u, v))]
    assert qs.Dataset.of(*sets).fingerprint == qs.Dataset.of(x, y, u, v).fingerprint
    tensors = [torch.tensor(a) for a in (x, y, u, v)]
    assert qs.Dataset.of(*tensors).fingerprint == qs.Dataset.of(x, y, u, v).fingerprint


@pytest.mark.parametrize("found", [object(), 3, None])
def test_what_is_no_device_is_one_line(found: Any) -> None:
    with pytest.raises((ConfigError, DeviceUnavailable), match="device"):
        qs.open_device(found, seed=1)


def test_what_is_no_program_is_one_line() -> None:
    with pytest.raises(ProgramError):
        qs.Program.from_perceval(pcvl.Circuit(2) // pcvl.PS(pcvl.P("phi")), pcvl.BasicState([1, 1]))


@pytest.mark.parametrize("script", ["sample_a_circuit", "mitigate_a_circuit", "own_network"])
def test_an_example_has_one_import_of_ours(script: str) -> None:
    tree = ast.parse((ROOT / "examples" / f"{script}.py").read_text(encoding="utf-8"))
    ours = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and "qpu_sdk" in ast.unparse(node)
    ]
    assert ours == ["import qpu_sdk as qs"]


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    assert isinstance(caught.value, qs.QPUError)
    return message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("run.toml", r"config is a str; .*load_config"),
        (Path("run.toml"), r"load_config"),
        (SHORT, r"config is a dict; .*RunConfig\(\*\*values\)"),
        (None, "config is a NoneType"),
    ],
)
def test_what_is_no_configuration_is_one_line(config: Any, words: str, tmp_path: Path) -> None:
    for call in (lambda: qs.train(config, tmp_path / "run"), lambda: qs.plan(config)):
        with pytest.raises(ConfigError, match=words) as caught:
            call()
        one_line(caught)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", [None, 3, "", b"run", "a\0b", ["run"]])
def test_what_is_no_folder_is_one_line(out: Any) -> None:
    for call in (lambda: qs.train(qs.RunConfig(**SHORT), out), lambda: qs.resume(out)):
        with pytest.raises(ConfigError, match="no path") as caught:
            call()
        one_line(caught)


def test_what_is_no_dataset_is_one_line(tmp_path: Path, data: qs.Dataset) -> None:
    import torch
    from torch.utils.data import TensorDataset

    config, (x, y) = qs.RunConfig(**SHORT, seed=1), stripes(20, 1)
    found: list[Any] = [(x, y, x, y), TensorDataset(torch.tensor(x)), "mnist-5k", x, data.train]
    for wrong in found:
        for call in (
            lambda wrong=wrong: qs.train(config, tmp_path / "run", target=network(), data=wrong),
            lambda wrong=wrong: qs.resume(tmp_path / "run", target=network(), data=wrong),
        ):
            with pytest.raises(DataError, match=r"Dataset\.of") as caught:
                call()
            one_line(caught)
    assert not (tmp_path / "run").exists()


def test_messages_about_a_run_from_python_lead_back_to_python(tmp_path: Path, data: qs.Dataset) -> None:
    config, out = qs.RunConfig(**SHORT, seed=1), tmp_path / "run"
    qs.train(config, out, target=network(), data=data)
    with pytest.raises(CheckpointError, match="already holds a run") as caught:
        qs.train(config, out, target=network(), data=data)
    assert f"qpu_sdk.resume({str(out)!r}, target=..., data=...)" in one_line(caught)
    with pytest.raises(CheckpointError, match=r"qpu_sdk\.train") as caught:
        qs.resume(tmp_path / "none")
    one_line(caught)


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: qs.Dataset) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run = qs.train(qs.RunConfig(**SHORT, seed=1), "~/run", target=network(), data=data)
    assert run.path == tmp_path / "run"
    assert qs.resume("~/run", target=network(), data=data).path == run.path
    assert qs.load_config("~/run/config.toml").seed == 1
    device = qs.open_device("local:slos?noise=transmittance:0.3,g2:0.02", seed=1)
    record = qs.calibrate(device, modes=4, inputs=(0, 2), shots=100_000, seed=0)
    path = qs.CalibrationStore("~/records").save(record)
    assert path.is_relative_to(tmp_path / "records")
    assert qs.load_record(f"~/{path.relative_to(tmp_path)}") == record
    qs.post_select(device.run(qs.Program.random(qs.IsometryMesh(4, 2), seed=1), shots=10_000)).plot("~/p.png")
    assert (tmp_path / "p.png").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("platforms", ["sim:ideal", ("sim:ideal",), ["sim:ideal"]])
def test_one_platform_may_be_a_text(platforms: Any) -> None:
    with qs.EmulatedCloud(seed=1, platforms=platforms) as cloud:
        assert cloud.url


@pytest.mark.parametrize("platforms", [3, None, (3,), "ideal", ()])
def test_what_is_no_platform_is_one_line(platforms: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        qs.EmulatedCloud(seed=1, platforms=platforms)
    one_line(caught)


def circuit_of(what: str) -> Any:
    """Perceval objects that hold more than a circuit of numbers."""
    plain = pcvl.Circuit(3) // pcvl.BS(0.4) // (1, pcvl.BS(1.1))
    experiment = pcvl.Experiment(pcvl.Circuit(3) // pcvl.BS(0.4))
    if what == "heralds":
        experiment.add_herald(2, 0)
        experiment.with_input(pcvl.BasicState([1, 0]))
        return experiment
    if what == "feed-forward":
        switch = pcvl.FFCircuitProvider(2, 0, pcvl.Circuit(1))
        switch.add_configuration([1, 0], pcvl.PS(1.0))
        experiment = pcvl.Experiment(3)
        experiment.add(0, pcvl.BS())
        experiment.add(0, pcvl.Detector.pnr())
        experiment.add(1, pcvl.Detector.pnr())
        experiment.add([0, 1], switch)
        experiment.with_input(pcvl.BasicState([1, 0, 1]))
        return experiment
    return plain


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("two photons in a mode", pcvl.BasicState([2, 0, 0])),
        ("heralds", None),
        ("feed-forward", None),
        ("a polarised state", pcvl.BasicState("|{P:H},0,{P:V}>")),
        ("an annotated state", pcvl.BasicState("|{_:1},0,{_:2}>")),
        ("no state", None),
        ("a state of other modes", pcvl.BasicState([1, 0])),
    ],
)
def test_perceval_objects_of_other_kinds_are_one_line(what: str, state: Any) -> None:
    arguments = (circuit_of(what),) if state is None else (circuit_of(what), state)
    with pytest.raises(qs.QPUError) as caught:
        qs.Program.from_perceval(*arguments)
    one_line(caught)
