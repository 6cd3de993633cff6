"""Configurations survive the way to TOML and back, and every mistake is one line that names its key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.config import QNNConfig, RunConfig, SPSAConfig
from qpu_sdk.training.config_file import load_config, parse_config
from qpu_sdk.training.control_names import CONTROLS, STANDARD_CONTROLS, chosen_controls
from qpu_sdk.training.schedule import Schedule

SIZES = {"data": ["train_size", "test_size"], "training": ["rounds", "batch_size", "shots"], "budget": ["settings"]}
RATES = st.floats(1e-12, 1e6, allow_nan=False)


@st.composite
def qnns(draw: st.DrawFn) -> dict[str, Any]:
    modes = draw(st.integers(2, 10))
    photons = draw(st.integers(1, min(3, modes - 1)))
    table: dict[str, Any] = {"modes": modes, "photons": photons}
    table["mesh"] = draw(st.sampled_from(["isometry", "rectangular", "brickwall"]))
    if draw(st.booleans()):
        table["input_modes"] = draw(
            st.lists(st.integers(0, modes - 1), min_size=photons, max_size=photons, unique=True)
        )
    if draw(st.booleans()):
        table["device"] = draw(st.text())
    return table


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    optional = st.none() | st.integers(1, 10**9)
    tree: dict[str, Any] = {table: {key: draw(optional) for key in keys} for table, keys in SIZES.items()}
    tree = {table: {k: v for k, v in keys.items() if v is not None} for table, keys in tree.items()}
    tree |= {"device": draw(st.text()), "seed": draw(st.integers(0, 2**70))}
    tree["controls"] = draw(st.booleans() | st.lists(st.sampled_from(CONTROLS), unique=True))
    tree["data"]["source"] = draw(st.text())
    tree["qnn"] = draw(st.lists(qnns(), min_size=2, max_size=3))
    tree["training"] |= {"lr": draw(RATES), "augment_shift": draw(st.integers(0, 3))}
    tree["spsa"] = {"c": draw(RATES), "A": draw(st.floats(0, 1e9)), "blocking": draw(st.booleans())}
    tree["generator"] = {"kind": draw(st.sampled_from(["tapered", "lean", "paper", "phases"])), "init_std": draw(RATES)}
    return tree


@given(tree=trees())
@settings(
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_toml_round_trip(tmp_path: Path, tree: dict[str, Any]) -> None:
    config, path = parse_config(tree, where="test"), tmp_path / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    read = load_config(path)
    assert read == config
    assert read.fingerprint == config.fingerprint


@pytest.mark.parametrize("text", ["plain", 'quo"te\\', "tab\tline\nend", "é\u2028", "\x7f", "\U0001f600", "\x00"])
def test_any_text_survives_toml(tmp_path: Path, text: str) -> None:
    config, path = parse_config({"data": {"source": text}}, where="test"), tmp_path / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert load_config(path).data.source == text


def test_default_configuration_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(RunConfig().to_toml(), encoding="utf-8")
    assert load_config(path) == RunConfig() == load_config()


def test_what_is_not_augmented_has_the_fingerprint_and_the_file_of_before() -> None:
    plain, none, moved = RunConfig(), *(RunConfig(training={"augment_shift": n}) for n in (0, 1))
    assert plain.fingerprint == none.fingerprint != moved.fingerprint
    assert "augment_shift" not in none.to_toml()
    assert "augment_shift = 1" in moved.to_toml()


def test_fingerprint_tells_configurations_apart() -> None:
    prints = {load_config(overrides=[o]).fingerprint for o in ("seed=0", "seed=1", "spsa.c=0.2", "qnn.0.modes=10")}
    assert len(prints) == 4
    assert load_config(overrides=["seed=0"]).fingerprint == RunConfig().fingerprint


# -- mistakes ----------------------------------------------------------------------------------------------


def refusal(tree: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(tree, where="run.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("run.toml: ")
    return message


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"sed": 1}, "sed"),
        ({"training": {"epoch": 1}}, "training.epoch"),
        ({"qnn": [{"modes": 4, "photons": 2, "mode": 1}] * 2}, "qnn.0.mode"),
        ({"spsa": {"b": 1}}, "spsa.b"),
    ],
)
def test_unknown_keys_are_refused_by_name(tree: dict[str, Any], key: str) -> None:
    assert f"unknown key {key!r}" in refusal(tree)


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": "one"}, "seed"),
        ({"training": {"rounds": 2.5}}, "training.rounds"),
        ({"training": {"rounds": [1]}}, "training.rounds"),
        ({"training": {"shots": 0}}, "training.shots"),
        ({"training": {"lr": 0}}, "training.lr"),
        ({"training": {"lr": math.nan}}, "training.lr"),
        ({"training": {"lr": math.inf}}, "training.lr"),
        ({"spsa": {"A": math.inf}}, "spsa.A"),
        ({"spsa": {"A": -1.0}}, "spsa.A"),
        ({"training": 3}, "training"),
        ({"device": 3}, "device"),
        ({"generator": {"kind": "fat"}}, "generator.kind"),
        ({"data": {"draw": "lots"}}, "data.draw"),
        ({"qnn": 3}, "qnn"),
        ({"qnn": ["a", "b"]}, "qnn.0"),
        ({"qnn": [{"modes": 4}] * 2}, "qnn.0.photons"),
    ],
)
def test_wrong_values_are_refused_by_name(tree: dict[str, Any], key: str) -> None:
    assert f": {key}: " in refusal(tree)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"devise": "x"}, "unknown key 'devise'. Did you mean device?"),
        ({"sead": 1}, "Did you mean seed?"),
        ({"training": {"round": 1}}, "unknown key 'training.round'. Did you mean training.rounds?"),
        ({"qnn": [{"modes": 4, "photons": 2, "mesch": "x"}] * 2}, "Did you mean qnn.0.mesh?"),
        ({"zzzz": 1}, "unknown key 'zzzz'. There are: device, seed"),
        ({"seed": -1}, "seed: "),
        ({"seed": np.zeros((3, 3))}, "seed: "),
        ({"training": {"rounds": 2.5}}, "training.rounds: "),
        ({"qnn": [{"modes": 4, "photons": 2}]}, "1 QNN is configured"),
        ({"qnn": [{"modes": 4, "photons": 9}] * 2}, "qnn.0: "),
        ({"mitigation": {"method": "guess"}}, "mitigation.method: "),
        ({"data": {"scale": 0}}, "data.scale: "),
        ({"spsa": None}, "spsa: "),
    ],
)
def test_python_is_refused_as_files_are(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig(**tree)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert "https:" not in message
    assert message.removeprefix("the configuration: ") == refusal(tree).removeprefix("run.toml: ")
    with pytest.raises(ValidationError):
        RunConfig.model_validate(tree)


def test_a_section_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^QNNConfig: unknown key 'mode'\. Did you mean modes\?"):
        QNNConfig(mode=4, photons=2)  # type: ignore[call-arg]
    made = RunConfig(spsa=SPSAConfig(steps=0), qnn=[QNNConfig(modes=4, photons=2), {"modes": 5, "photons": 2}])
    assert made == RunConfig(spsa={"steps": 0}, qnn=({"modes": 4, "photons": 2}, {"modes": 5, "photons": 2}))


@pytest.mark.parametrize("found", ["run.toml", {"seed": 1}, None])
def test_values_without_names_are_refused(found: Any) -> None:
    with pytest.raises(ConfigError, match=r"by their names.*load_config"):
        RunConfig(found)  # type: ignore[misc]


def test_an_override_may_be_a_text() -> None:
    assert load_config(overrides="seed=7").seed == 7


@pytest.mark.parametrize("found", [None, 3, "", "a\0b", b"run.toml", ["run.toml"], "~nobody-of-this-name/run.toml"])
def test_what_is_no_path_is_one_line(found: Any) -> None:
    if found is None:
        assert load_config(found) == RunConfig()
        return
    with pytest.raises(ConfigError, match="the path of a configuration") as caught:
        load_config(found)
    assert "\n" not in str(caught.value)


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.toml").write_text('seed = 3\n[mitigation]\nrecord = "~/record.json"\n')
    config = load_config("~/run.toml")
    assert config.seed == 3
    assert config.mitigation.absolute().record == str(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"modes": 4, "photons": 5}, "photons"),
        ({"modes": 1, "photons": 1}, "modes"),
        ({"modes": 65, "photons": 1}, "modes"),
        ({"modes": 4, "photons": 2, "input_modes": [0]}, "not 2 distinct modes of 0..3"),
        ({"modes": 4, "photons": 2, "input_modes": [1, 1]}, "not 2 distinct modes of 0..3"),
        ({"modes": 4, "photons": 2, "input_modes": [0, 4]}, "not 2 distinct modes of 0..3"),
        ({"modes": 4, "photons": 2, "input_modes": [-1, 2]}, "input_modes"),
        ({"modes": 4, "photons": 2, "input_modes": []}, "not 2 distinct modes of 0..3"),
    ],
)
def test_circuits_that_do_not_fit_are_refused(table: dict[str, Any], words: str) -> None:
    message = refusal({"qnn": [{"modes": 4, "photons": 2}, table]})
    assert "qnn.1" in message
    assert words in message


@pytest.mark.parametrize("tables", [[], [{"modes": 9, "photons": 4}]])
def test_fewer_than_two_circuits_are_refused(tables: list[dict[str, int]]) -> None:
    assert f"{len(tables)} QNN" in refusal({"qnn": tables})


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        RunConfig().seed = 3


def test_long_values_are_shortened() -> None:
    assert len(refusal({"generator": {"kind": "x" * 5000}})) < 300


# -- overrides ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", "seed", 7),
        (" seed = 7 ", "seed", 7),
        ("generator.kind=paper", "generator.kind", "paper"),
        ('generator.kind="paper"', "generator.kind", "paper"),
        ("controls=true", "controls", True),
        ("controls=True", "controls", True),
        ("controls=false", "controls", False),
        ("controls=pruned", "controls", ("pruned",)),
        ('controls=["pruned","hashed"]', "controls", ("pruned", "hashed")),
        ("controls=[]", "controls", ()),
        ("spsa.c=1e-3", "spsa.c", 1e-3),
        ("data.source=folder/digits.npz", "data.source", "folder/digits.npz"),
        ("device=local:slos?transmittance=0.3", "device", "local:slos?transmittance=0.3"),
        ("target.factory=package.module:function", "target.factory", "package.module:function"),
        ("qnn.0.modes=8", "qnn.0.modes", 8),
        ("qnn.1.device=replay:counts.jsonl", "qnn.1.device", "replay:counts.jsonl"),
        ("qnn.0.input_modes=[0, 3, 5, 7]", "qnn.0.input_modes", (0, 3, 5, 7)),
    ],
)
def test_overrides(override: str, path: str, value: object) -> None:
    node: Any = load_config(overrides=[override])
    for part in path.split("."):
        node = node[int(part)] if part.isdigit() else getattr(node, part)
    assert node == value


def test_overriding_one_circuit_leaves_the_other() -> None:
    changed, default = load_config(overrides=["qnn.0.modes=10"]), RunConfig()
    assert changed.qnn[1] == default.qnn[1]
    assert changed.qnn[0].photons == default.qnn[0].photons


def test_overrides_win_over_the_file_and_later_ones_over_earlier(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("seed = 1\n[spsa]\nc = 0.5\n[[qnn]]\nmodes = 5\nphotons = 2\n[[qnn]]\nmodes = 4\nphotons = 2\n")
    config = load_config(path, overrides=["seed=2", "seed=3", "qnn.1.modes=6"])
    assert (config.seed, config.spsa.c, [q.modes for q in config.qnn]) == (3, 0.5, [5, 6])


@pytest.mark.parametrize(
    "override",
    ["seed", "=3", "", "qnn.2.modes=4", "qnn.first.modes=4", "generator.bond_dim.x=1", "sed=1", "seed=", "qnn.0=4"],
)
def test_overrides_that_fit_nowhere_are_refused(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    assert "\n" not in str(caught.value)


def problem(override: str) -> str:
    try:
        load_config(overrides=[override])
    except ConfigError as error:
        return str(error)
    return ""


@given(text=st.text(max_size=30))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_no_override_ends_in_anything_but_a_config_error(text: str) -> None:
    assert "\n" not in problem(text)
    assert "\n" not in problem(f"training.rounds={text}")


# -- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"[data]\n[data]\n"])
def test_files_that_are_no_toml_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml")


def test_a_problem_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "typo.toml"
    path.write_text("[training]\nround = 3\n")
    with pytest.raises(ConfigError, match=r"typo\.toml: unknown key 'training\.round'"):
        load_config(path)


# -- limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.threads=100000", "256"),
        ("training.shots=1000000000000000001", "1000000000000000000"),
        ("training.final_shots=100000000000000000000", "1000000000000000000"),
        ("spsa.shots=9999999999999999999", "1000000000000000000"),
        ("generator.bond_dim=100000", "80.0 GB"),
        ("generator.bond_dim=100000000000000000000", "1000000000"),
        ("training.batch_size=100000000000000000000", "1000000000"),
        ("training.trials=100000000000000000000", "1000000000"),
        ("training.rounds=100000000000000000000", "1000000000"),
        ("spsa.resamplings=1000000", "100000"),
        ("data.train_size=100000000000000000000", "1000000000"),
        ("qnn=[{modes=64, photons=32}, {modes=8, photons=4}]", "GB for each copy of p"),
        ("qnn=[{modes=20, photons=5}, {modes=20, photons=5}]", "GB for each copy of p"),
    ],
)
def test_what_no_machine_bears_is_refused_with_the_limit(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    message = str(caught.value)
    assert override.partition("=")[0].partition("[")[0] in message or "circuits" in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "values",
    [
        {"training": {"rounds": 10**9}},
        {"training": {"trials": 10**5, "trial_epochs": 100, "warm_start_epochs": 100}},
        {"spsa": {"steps": 10**6}},
        {"training": {"final_epochs": 10**9}},
        {"training": {"rounds": 2000, "shots": 10**16}},
        {"spsa": {"steps": 500, "shots": 10**16}},
    ],
)
def test_a_run_without_end_is_refused_before_it_is_listed(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"the run has .* Lower"):
        Schedule.of(RunConfig(**values))


@pytest.mark.parametrize("values", [{"a": 0.1}, {"calibration_pairs": 1}])
def test_blocking_works_where_some_step_tells_the_noise(values: dict[str, Any]) -> None:
    assert not SPSAConfig(**values).open(A=0.0).blocking
    assert SPSAConfig(**values, resamplings=2).open(A=0.0).blocking
    assert SPSAConfig().open(A=0.0).blocking


@pytest.mark.parametrize("value", [True, 2.5, "2", np.float64(2.5), np.True_])
def test_numbers_of_a_configuration_are_whole_where_they_count(value: Any) -> None:
    for make in (lambda: RunConfig(seed=value), lambda: RunConfig(training={"rounds": value})):
        with pytest.raises(ConfigError, match="whole number"):
            make()


# -- controls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ['["prune"]', "[3]", '[["pruned"]]', "prune", "3", "{a = 1}", '["pruned", true]'])
def test_controls_that_there_are_not_are_one_line_with_those_that_there_are(value: str) -> None:
    with pytest.raises(ConfigError, match=r"controls: .*small_network.*low_rank") as caught:
        load_config(overrides=[f"controls={value}"])
    assert "\n" not in str(caught.value)


def test_controls_are_chosen_by_name_or_all_that_are_standard() -> None:
    assert chosen_controls(RunConfig().controls) == ()
    assert chosen_controls(RunConfig(controls=True).controls) == STANDARD_CONTROLS
    assert chosen_controls(RunConfig(controls=["pruned", "constant", "pruned"]).controls) == ("pruned", "constant")
    assert set(STANDARD_CONTROLS) < set(CONTROLS)


def test_lists_of_controls_identify_a_run() -> None:
    fingerprints = {RunConfig(controls=c).fingerprint for c in (False, True, ["pruned"], ["hashed"])}
    assert len(fingerprints) == 4
