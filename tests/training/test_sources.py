"""Layouts in which people have images: each reads as the arrays it was made of, or is one line."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from qpu_sdk.errors import DataError
from qpu_sdk.training.config import DataConfig
from qpu_sdk.training.data import Dataset, load_dataset
from qpu_sdk.training.sources import absolute_source

Array = npt.NDArray[Any]
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def arrays() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (18, 4, 4), dtype=np.uint8)
    y = np.arange(18) % 3
    return {"x_train": x[:12], "y_train": y[:12], "x_test": x[12:], "y_test": y[12:]}


def load(source: str | Path, **options: Any) -> Dataset:
    return load_dataset(DataConfig(source=str(source), **options), seed=1)


def refusal(source: str | Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(found: Dataset, expected: dict[str, Array] | None = None) -> None:
    expected = arrays() if expected is None else expected
    for part, images in (("train", found.train), ("test", found.test)):
        assert np.allclose(images.x[:, 0], expected[f"x_{part}"] / 255, atol=1e-6)
        assert np.array_equal(images.y, expected[f"y_{part}"])


# -- IDX ---------------------------------------------------------------------------------------------------


def idx(array: Array) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, names: dict[str, str], content: dict[str, Array] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in names.items():
        data = idx((content or arrays())[part])
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def names(train: str = "train-", test: str = "t10k-", *, dot: bool = False, end: str = "") -> dict[str, str]:
    images, labels = (text.replace("-idx", ".idx") if dot else text for text in (IMAGES, LABELS))
    parts = {"x_train": train + images, "y_train": train + labels, "x_test": test + images, "y_test": test + labels}
    return {part: name + end for part, name in parts.items()}


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"])
@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_folders_of_mnist_and_its_relatives(tmp_path: Path, place: str, dot: bool, end: str) -> None:
    write_idx(tmp_path / place, names(dot=dot, end=end))
    assert_same(load(tmp_path))


def test_files_in_folders_of_their_own_names(tmp_path: Path) -> None:
    for part, name in names().items():
        write_idx(tmp_path / name, {part: name})
    assert_same(load(tmp_path))


def emnist(split: str) -> dict[str, str]:
    return names(f"emnist-{split}-train-", f"emnist-{split}-test-")


@pytest.mark.parametrize("place", [".", "EMNIST/raw"])
def test_emnist_is_turned_upright_and_its_labels_begin_at_one(tmp_path: Path, place: str) -> None:
    stored = arrays() | {f"x_{part}": arrays()[f"x_{part}"].swapaxes(1, 2) for part in ("train", "test")}
    stored |= {f"y_{part}": arrays()[f"y_{part}"] + 1 for part in ("train", "test")}
    write_idx(tmp_path / place, emnist("letters"), stored)
    expected = arrays() | {f"y_{part}": stored[f"y_{part}"] for part in ("train", "test")}
    assert_same(load(tmp_path), expected)
    split = tmp_path / place / "emnist-letters"
    assert_same(load(split), expected)
    assert absolute_source(str(split)) == str(split.resolve())


def test_one_split_of_several_has_to_be_named(tmp_path: Path) -> None:
    for split in ("letters", "digits"):
        write_idx(tmp_path / "EMNIST/raw", emnist(split))
    message = refusal(tmp_path)
    assert "emnist-digits, emnist-letters" in message
    named = message.rpartition("Name one: ")[2].removesuffix(".")
    assert load(named).classes == 3


# -- CSV ---------------------------------------------------------------------------------------------------


def lists(path: Path, x: Array, y: Array, *, encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        rows = [(json.dumps((image.ravel() / 255).tolist()), int(label)) for image, label in zip(x, y, strict=True)]
        csv.writer(file).writerows([("image", "label"), *rows])


def columns(path: Path, x: Array, y: Array, *, first: str | None = "label", last: str | None = None) -> None:
    rows = [
        [*([label] if first else []), *image.ravel(), *([label] if last else [])]
        for image, label in zip(x, y, strict=True)
    ]
    header = [*([first] if first else []), *(f"pixel{i}" for i in range(x[0].size)), *([last] if last else [])]
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")


def plain(path: Path, x: Array, y: Array) -> None:
    columns(path, x, y)
    path.write_text(path.read_text().partition("\n")[2])


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path, Array, Array], None]:
    def write(path: Path, x: Array, y: Array) -> None:
        columns(path, x, y)
        path.write_bytes(change(path.read_bytes()))

    return write


WRITERS: dict[str, Callable[[Path, Array, Array], None]] = {
    "lists": lists,
    "lists, marked": lambda path, x, y: lists(path, x, y, encoding="utf-8-sig"),
    "columns": columns,
    "label last": lambda path, x, y: columns(path, x, y, first=None, last="Label"),
    "no header": plain,
    "marked": changed(lambda data: b"\xef\xbb\xbf" + data),
    "Windows": changed(lambda data: data.replace(b"\n", b"\r\n")),
    "quoted": changed(lambda data: b'"label"' + data.removeprefix(b"label")),
    "zipped": changed(gzip.compress),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("stem", ["a", "two words", "with,comma", "a.b, c"])
def test_csv_of_every_kind_and_name(tmp_path: Path, kind: str, stem: str) -> None:
    content, end = arrays(), ".csv.gz" if kind == "zipped" else ".csv"
    paths = [tmp_path / f"{stem}-{part}{end}" for part in ("train", "test")]
    for path, part in zip(paths, ("train", "test"), strict=True):
        WRITERS[kind](path, content[f"x_{part}"], content[f"y_{part}"])
    source = f"{paths[0]},{paths[1]}"
    assert_same(load(source))
    assert_same(load(absolute_source(source)))


def test_floats_in_columns_stay_floats(tmp_path: Path) -> None:
    x, y = (arrays()["x_train"] > 127).astype(float), arrays()["y_train"]
    columns(tmp_path / "a.csv", x, y)
    assert np.array_equal(load(f"{tmp_path / 'a.csv'},{tmp_path / 'a.csv'}").train.x[:, 0], x)


def test_whole_numbers_in_lists_are_bytes(tmp_path: Path) -> None:
    content = arrays()
    rows = [
        (json.dumps(x.ravel().tolist()), int(y)) for x, y in zip(content["x_train"], content["y_train"], strict=True)
    ]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    assert np.allclose(load(f"{tmp_path / 'a.csv'},{tmp_path / 'a.csv'}").train.x[:, 0], content["x_train"] / 255)


def test_kaggles_test_part_has_no_labels_and_the_way_out_works(tmp_path: Path) -> None:
    content = arrays()
    columns(tmp_path / "train.csv", content["x_train"], content["y_train"])
    columns(tmp_path / "test.csv", content["x_test"], content["y_test"], first=None)
    assert "no column label" in refusal(f"{tmp_path / 'train.csv'},{tmp_path / 'test.csv'}")
    twice = f"{tmp_path / 'train.csv'},{tmp_path / 'train.csv'}"
    assert len(load(twice, draw="training", train_size=8, test_size=4).test) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label;pixel0;pixel1\n1;2;3\n", "semicolons"),
        ("a,b,c\n1,2,3\n", "columns 'a, b, c'"),
        ("label,pixel0,pixel1\n1,2,x\n", "no table of numbers"),
        ("label,pixel0,pixel1\n1,2\n1,2,3\n", "no table of numbers"),
        ("label,pixel0,pixel1\n", "a.csv"),
        ("", "empty"),
    ],
)
def test_other_tables_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert words in refusal(f"{tmp_path / 'a.csv'},{tmp_path / 'a.csv'}")


def test_one_csv_is_half_of_a_source(tmp_path: Path) -> None:
    columns(tmp_path / "a.csv", arrays()["x_train"], arrays()["y_train"])
    assert "TRAIN.csv,TEST.csv" in refusal(tmp_path / "a.csv")


# -- archives ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.npz", "D.NPZ", "two words.Npz", "with,comma.npz", "~tilde.npz"])
def test_archives_of_every_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / name).open("wb") as file:
        np.savez(file, **arrays())
    assert_same(load(tmp_path / name))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_same(load(f"~/{name}"))


def test_an_archive_with_other_names_tells_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", train_images=arrays()["x_train"], train_labels=arrays()["y_train"])
    assert "train_images, train_labels" in refusal(tmp_path / "d.npz")


@pytest.mark.parametrize("features", [3, 16, 30])
def test_tables_of_features_are_rows(tmp_path: Path, features: int) -> None:
    x, y = np.random.default_rng(1).random((12, features)), np.arange(12) % 2
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = load(tmp_path / "d.npz")
    assert found.flat
    assert np.array_equal(found.as_rows().train.x, x.astype(np.float32))
    assert (found.train.x.ndim == 2) == (features != 16)


def test_features_out_of_range_say_what_to_do(tmp_path: Path) -> None:
    x, y = np.random.default_rng(1).normal(size=(12, 30)), np.arange(12) % 2
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert "(x - low) / (high - low)" in refusal(tmp_path / "d.npz")


# -- folders by class --------------------------------------------------------------------------------------


def pictures(
    folder: Path,
    *,
    parts: tuple[str, str] = ("train", "test"),
    classes: tuple[str, ...] = ("0", "1", "2"),
    end: str = "png",
) -> dict[str, Array]:
    """The arrays in the order of classes and files."""
    content, expected = arrays(), {}
    for part, name in zip(("train", "test"), parts, strict=True):
        order = np.argsort(content[f"y_{part}"], kind="stable")
        for index in order:
            place = folder / name / classes[int(content[f"y_{part}"][index])]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content[f"x_{part}"][index]).save(place / f"{index:02d}.{end}")
        expected |= {f"{axis}_{part}": content[f"{axis}_{part}"][order] for axis in "xy"}
    return expected


@pytest.mark.parametrize("parts", [("train", "test"), ("training", "testing"), ("train", "val")])
@pytest.mark.parametrize("classes", [("0", "1", "2"), ("cat", "dog", "eel"), ("2", "10", "11")])
@pytest.mark.parametrize("end", ["png", "PNG", "bmp"])
def test_pictures_by_class(tmp_path: Path, parts: tuple[str, str], classes: tuple[str, ...], end: str) -> None:
    expected = pictures(tmp_path, parts=parts, classes=classes, end=end)
    (tmp_path / parts[0] / ".DS_Store").write_bytes(b"x")
    (tmp_path / parts[0] / classes[0] / "Thumbs.db").write_bytes(b"x")
    assert_same(load(tmp_path), expected)


def test_one_coloured_picture_makes_all_coloured(tmp_path: Path) -> None:
    pictures(tmp_path)
    assert load(tmp_path).train.x.shape[1] == 1
    path = tmp_path / "train" / "0" / "99.png"
    Image.fromarray(np.dstack([np.full((4, 4), level, np.uint8) for level in (250, 20, 20)])).save(path)
    assert load(tmp_path).train.x.shape[1] == 3


def another_size(folder: Path) -> None:
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(folder / "train" / "2" / "99.png")


def damaged(folder: Path) -> None:
    (folder / "test" / "1" / "99.png").write_bytes(b"no picture")


def unknown_class(folder: Path) -> None:
    (folder / "test" / "9").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "test" / "9" / "0.png")


def empty_class(folder: Path) -> None:
    (folder / "train" / "7").mkdir()


def no_test(folder: Path) -> None:
    (folder / "test").rename(folder / "rest")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (another_size, "5 x 4 pixels"),
        (damaged, "99.png is not an image"),
        (unknown_class, "class 9"),
        (empty_class, "holds no pictures"),
        (no_test, "no folder test"),
    ],
)
def test_folders_that_lack_something_are_one_line(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    pictures(tmp_path)
    spoil(tmp_path)
    assert words in refusal(tmp_path)


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert IMAGES in message
    assert "train/CLASS" in message
