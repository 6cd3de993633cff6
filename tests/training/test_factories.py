"""Factories: networks are found where people keep them, importing leaves no trace, what they raise is one line."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.config import TargetConfig
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.factories import open_factory
from qpu_sdk.training.located import located
from qpu_sdk.training.targets import BUILT_IN, load_target

LINEAR = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear({pixels}, 2))\n"


def write(folder: Path, name: str = "mynet.py", text: str | None = None, *, pixels: int = 16) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LINEAR.format(pixels=pixels) if text is None else text)
    return path


@pytest.fixture(autouse=True)
def modules_as_they_were() -> Iterator[None]:
    before, path = dict(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - set(before):
        if getattr(sys.modules[name], "__file__", None) and "pytest" in str(sys.modules[name].__file__):
            del sys.modules[name]


def refusal(factory: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_target(factory, seed=1, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- where they are ----------------------------------------------------------------------------------------


def test_a_network_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_target("mynet:net", seed=1).size == 34


@pytest.mark.parametrize("name", ["mynet.py", "nets/mynet.py", "two words/my net.py", "json.py", "torch.py", "a.b.py"])
def test_a_network_is_named_by_its_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    for named in (name, str(path)):
        assert load_target(f"{named}:net", seed=1).size == 34
    import json

    assert json.loads("1") == 1


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "neighbour_of_mine.py")
    path = write(tmp_path, text="from neighbour_of_mine import net\n")
    assert load_target(f"{path}:net", seed=1).size == 34


def test_a_package_may_import_relatively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mypackage_/__init__.py", "")
    write(tmp_path, "mypackage_/parts.py")
    write(tmp_path, "mypackage_/nets.py", "from .parts import net\n")
    monkeypatch.chdir(tmp_path)
    assert load_target("mypackage_.nets:net", seed=1).size == 34


def test_what_is_installed_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path,
        "mynet.py",
        "import random, numpy\nfrom torch import nn\nnet = lambda: nn.Linear(int(random.random() + 1), 2)",
    )
    write(tmp_path, "random.py", "raise RuntimeError('another')")
    write(tmp_path, "numpy.py", "raise RuntimeError('another')")
    monkeypatch.chdir(tmp_path)
    assert load_target("mynet:net", seed=1).size == 4
    assert "random" in refusal("random:net")


def test_modules_of_one_name_in_two_folders_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, pixels in (("a", 16), ("b", 25)):
        write(tmp_path / name, pixels=pixels)
    sizes = [load_target("mynet:net", seed=1, folder=str(tmp_path / name)).size for name in ("a", "b", "a")]
    assert sizes == [34, 52, 34]


def test_neighbours_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for name, pixels in (("a", 16), ("b", 25)):
        write(tmp_path / name, "layers_of_mine.py", pixels=pixels)
        write(tmp_path / name, text="from layers_of_mine import net\n")
    files = [f"{tmp_path / name}/mynet.py:net" for name in ("a", "b", "a")]
    assert [load_target(file, seed=1).size for file in files] == [34, 52, 34]


def test_code_is_run_once_and_again_when_it_changes(tmp_path: Path) -> None:
    text = "import sys\nsys.modules.setdefault('runs_of_mine', []).append(1)\n"
    text += "from torch import nn\nnet = lambda: nn.Linear(2, {})\n"
    path = write(tmp_path, text=text.format(2))
    sizes = [load_target(f"{path}:net", seed=1).size for _ in range(3)]
    write(tmp_path, text=text.format(30))
    assert [*sizes, load_target(f"{path}:net", seed=1).size] == [6, 6, 6, 90]
    assert sys.modules.pop("runs_of_mine") == [1, 1]  # type: ignore[comparison-overlap]


def test_a_run_writes_down_where_its_network_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "project")
    (tmp_path / "project" / "run.toml").write_text('[target]\nfactory = "mynet:net"\n')
    (tmp_path / "project" / "file.toml").write_text('[target]\nfactory = "mynet.py:net"\n')
    monkeypatch.chdir(tmp_path)
    for name in ("run.toml", "file.toml"):
        target = load_config(Path("project") / name).target
        assert target.folder == str(path.parent.resolve())
        assert load_target(target.factory, seed=1, folder=target.folder).size == 34
    known = TargetConfig(factory="mynet:net")
    assert located(known, tmp_path / "project").folder == str(path.parent.resolve())
    assert located(known, tmp_path).folder is None
    assert located(located(known, path.parent), tmp_path).folder == str(path.parent.resolve())
    assert located(TargetConfig(factory=str(path) + ":net"), tmp_path).factory == "mynet.py:net"
    beside = TargetConfig(factory="mynet:net", folder="project")
    assert located(beside, tmp_path / "elsewhere", tmp_path).folder == str(path.parent.resolve())


def test_nothing_is_written_down_for_what_is_installed(tmp_path: Path) -> None:
    write(tmp_path, "json.py")
    write(tmp_path, "qpu_sdk/training/targets.py")
    for factory in (*BUILT_IN, "json:net"):
        assert located(TargetConfig(factory=factory), tmp_path).folder is None


def test_the_place_changes_no_fingerprint() -> None:
    plain = load_config(overrides=["target.factory=mynet:net"])
    moved = load_config(overrides=["target.factory=mynet:net", "target.folder=/somewhere"])
    assert plain.fingerprint == moved.fingerprint
    assert "folder" not in plain.to_toml()
    assert 'folder = "/somewhere"' in moved.to_toml()


# -- what they raise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def net():\n    raise RuntimeError('one\\ntwo')\n", ["RuntimeError: one", "mynet.py, line 2, in net"]),
        ("def help():\n    1 / 0\ndef net():\n    help()\n", ["line 4, in net > mynet.py, line 2, in help"]),
        ("def net():\n    raise SystemExit(3)\n", ["SystemExit: 3"]),
        ("import torch\ndef net():\n    return torch.ones(2)[3]\n", ["IndexError", "line 3, in net"]),
        ("def net(hidden):\n    pass\n", ["wants arguments", "hidden"]),
        ("import nothing_of_this_name\n", ["nothing_of_this_name", "mynet.py, line 1"]),
        ("def net(:\n", ["SyntaxError"]),
        ("assert False, 'not today'\n", ["AssertionError: not today"]),
        ("raise SystemExit\n", ["SystemExit"]),
        ("net = 3\n", ["no such function"]),
        ("", ["no such function"]),
        ("from torch import nn\ndef net():\n    return nn.Linear\n", ["the class Linear"]),
        ("def net():\n    return None\n", ["a NoneType"]),
        ("def net():\n    yield 1\n", ["a generator"]),
        ("from torch import nn\nnet = nn.Linear(2, 2)\n", ["is a network"]),
    ],
)
def test_whatever_a_users_file_does_is_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(f"{write(tmp_path, text=text)}:net")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "factory", ["none.py:net", "nothing_here:net", "~/none.py:net", "a/b:net", "..x:net", "x.py", "é:ü"]
)
def test_what_is_not_there_is_one_line(factory: str) -> None:
    assert factory.rpartition(":")[0] in refusal(factory) or "module:function" in refusal(factory)


# -- without a trace ---------------------------------------------------------------------------------------

HABITS = {
    "types": "torch.set_default_dtype(torch.float64)",
    "gradients": "torch.set_grad_enabled(False)",
    "threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "torch's seed": "torch.manual_seed(5)",
    "numpy's seed": "np.random.seed(5)",
    "Python's seed": "random.seed(5)",
    "algorithms": "torch.use_deterministic_algorithms(True)",
    "folder": "os.chdir('/')",
    "path": "sys.path.insert(0, '/')",
}


def world() -> list[Any]:
    return [
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]  # noqa: NPY002
        random.getstate(),
        os.getcwd(),
        list(sys.path),
    ]


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("where", ["imported", "called", "raised"])
def test_what_a_factory_sets_is_undone(tmp_path: Path, habit: str, where: str) -> None:
    line, before = HABITS[habit], world()
    text = "import os, random, sys\nimport numpy as np\nimport torch\nfrom torch import nn\n"
    text += f"{line}\n" if where == "imported" else ""
    text += "def net():\n" + (f"    {line}\n" if where != "imported" else "")
    text += (
        "    raise ValueError\n" if where == "raised" else "    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))\n"
    )
    path = write(tmp_path, text=text)
    if where == "raised":
        refusal(f"{path}:net")
    else:
        target = load_target(f"{path}:net", seed=1)
        assert target.logits(torch.zeros(target.size, requires_grad=True), torch.zeros(3, 1, 4, 4)).requires_grad
    assert world() == before


def test_every_random_number_is_of_the_seed(tmp_path: Path) -> None:
    text = (
        "import random\nimport numpy as np\nimport torch\nfrom torch import nn\ndef net():\n    net = nn.Linear(2, 2)\n"
    )
    text += "    draws = [random.random(), np.random.rand(), float(torch.rand(()))]\n"
    text += "    net.register_buffer('draws', torch.tensor(draws))\n    return net\n"
    path = write(tmp_path, text=text)
    one, same, other = (open_factory(f"{path}:net", seed=seed).get_buffer("draws") for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not (one == other).any()
