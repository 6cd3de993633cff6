"""Pictures are read as a person sees them: the same stroke comes back from every kind of file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from qpu_sdk.errors import DataError
from qpu_sdk.training.data import Dataset
from qpu_sdk.training.pictures import is_light, page_of
from qpu_sdk.training.pixels import read_image, read_images

Array = npt.NDArray[Any]


def stroke(side: int = 28) -> Array:
    """An upright stroke with shades and a hook, which no turn or mirror gives again; dark all around."""
    digit, unit = np.zeros((side, side), dtype=np.uint8), side // 28
    digit[5 * unit : 23 * unit, 12 * unit : 16 * unit] = np.repeat(np.linspace(60, 255, 18).astype(np.uint8), unit)[
        :, None
    ]
    digit[5 * unit : 9 * unit, 8 * unit : 12 * unit] = 90
    return digit


DIGIT = stroke()


def ink(alpha: Array, level: int) -> Image.Image:
    """Ink of one grey on a transparent page."""
    pixels = np.full((*alpha.shape, 4), level, dtype=np.uint8)
    pixels[..., 3] = alpha
    return Image.fromarray(pixels)


def palette_with_transparency() -> Image.Image:
    picture = Image.fromarray(255 - DIGIT).convert("P")
    picture.info["transparency"] = int(np.asarray(picture)[0, 0])
    return picture


def cornered() -> Image.Image:
    """Dark ink on an opaque white page whose corners are transparent, as pictures of screens have them."""
    pixels = np.dstack([255 - DIGIT] * 3 + [np.full_like(DIGIT, 255)])
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        pixels[row, column] = (0, 0, 0, 0)
    return Image.fromarray(pixels)


#: What is drawn, how it is saved, whether it is dark on light.
KINDS: dict[str, tuple[Callable[[], Image.Image], str, bool]] = {
    "grey": (lambda: Image.fromarray(DIGIT), "a.png", False),
    "dark ink on nothing": (lambda: ink(DIGIT, 0), "a.png", True),
    "light ink on nothing": (lambda: ink(DIGIT, 255), "a.png", False),
    "LA": (lambda: ink(DIGIT, 0).convert("LA"), "a.png", True),
    "webp": (lambda: ink(DIGIT, 0), "a.webp", True),
    "palette": (lambda: Image.fromarray(DIGIT).convert("P"), "a.png", False),
    "transparent palette": (palette_with_transparency, "a.png", True),
    "transparent corners": (cornered, "a.png", True),
    "16 bits": (lambda: Image.fromarray(DIGIT.astype(np.uint16) * 257), "a.png", False),
    "16 bits, TIFF": (lambda: Image.fromarray(DIGIT.astype(np.uint16) * 257), "a.tiff", False),
    "16 bits, big end first": (lambda: Image.fromarray(DIGIT.astype(">u2") * 257), "a.tiff", False),
    "16 bits in 32": (lambda: Image.fromarray(DIGIT.astype(np.int32) * 257), "a.tiff", False),
    "floats": (lambda: Image.fromarray((DIGIT / 255).astype(np.float32)), "a.tiff", False),
    "CMYK": (lambda: Image.fromarray(np.dstack([DIGIT] * 3)).convert("CMYK"), "a.tiff", False),
    "colours": (lambda: Image.fromarray(np.dstack([DIGIT] * 3)), "a.bmp", False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_shows_the_same(tmp_path: Path, kind: str) -> None:
    make, name, dark_on_light = KINDS[kind]
    make().save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    found = read_image(tmp_path / name, invert=dark_on_light)[0]
    assert np.abs(found - DIGIT / 255).max() < 0.01


def test_black_and_white_is_what_it_is(tmp_path: Path) -> None:
    Image.fromarray(DIGIT > 80).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", invert=False)[0], (DIGIT > 80).astype(np.float32))


@pytest.mark.parametrize("largest", [200, 60_000])
def test_a_dark_scan_of_16_bits_is_dark(tmp_path: Path, largest: int) -> None:
    """What the format says is white counts, not what is the brightest that there is."""
    levels = (DIGIT / 255 * largest).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 28 28 65535\n" + levels.tobytes())
    found = read_image(tmp_path / "a.pgm", invert=False)[0]
    assert np.array_equal(found, (levels / 65535).astype(np.float32))


TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 6: "ROTATE_90", 8: "ROTATE_270"}


@pytest.mark.parametrize("orientation", TURNS)
def test_cameras_say_how_they_were_held(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = Image.fromarray(DIGIT).transpose(Image.Transpose[TURNS[orientation]])
    held.resize((280, 280), Image.Resampling.NEAREST).convert("RGB").save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_image(tmp_path / "a.jpg", invert=False)[0]
    assert np.abs(found - DIGIT / 255).mean() < 0.03


def test_colours_stay_for_a_network_of_three_channels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_images(tmp_path / "a.png", shape=(3, 28, 28))
    assert np.allclose(found[0], pixels.transpose(2, 0, 1) / 255, atol=1e-6)
    Image.fromarray(DIGIT).save(tmp_path / "b.png")
    grey = read_images(tmp_path / "b.png", shape=(3, 28, 28))[0]
    assert np.array_equal(grey[0], grey[2])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (16, 32), (32, 16)])
def test_a_picture_becomes_as_large_as_the_network_takes(tmp_path: Path, height: int, width: int) -> None:
    Image.fromarray(stroke(280)).save(tmp_path / "a.png")
    assert read_images(tmp_path / "a.png", shape=(1, height, width)).shape == (1, 1, height, width)


@pytest.mark.parametrize("page", [0, 200])
def test_a_square_stays_a_square(tmp_path: Path, page: int) -> None:
    picture = np.full((60, 180), page, dtype=np.uint8)
    picture[15:45, 75:105] = 255 - page // 2
    Image.fromarray(picture).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", invert=False)[0]
    marked = np.abs(found - page / 255) > 0.2
    rows, columns = marked.any(1).sum(), marked.any(0).sum()
    assert abs(int(rows) - int(columns)) <= 1
    assert np.allclose(found[:9], page / 255, atol=0.01)  # what is added is of the page


def frames(path: Path) -> None:
    first, second = Image.fromarray(DIGIT), Image.fromarray(255 - DIGIT)
    first.save(path, save_all=True, append_images=[second])


def bomb(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 15000, 15000, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 99)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (99, 99), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def floats_of_bytes(path: Path) -> None:
    Image.fromarray(DIGIT.astype(np.float32)).save(path)


def not_a_number(path: Path) -> None:
    Image.fromarray(np.full((28, 28), np.nan, dtype=np.float32)).save(path)


def bytes_in_32_bits(path: Path) -> None:
    Image.fromarray(DIGIT.astype(np.int32)).save(path)


def narrow(path: Path) -> None:
    Image.fromarray(np.zeros((1, 4000), dtype=np.uint8)).save(path)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "name", "words"),
    [
        (frames, "a.gif", "2 frames"),
        (frames, "a.png", "2 frames"),
        (frames, "a.tiff", "2 frames"),
        (bomb, "a.png", "larger than is read"),
        (cut, "a.png", "not an image"),
        (floats_of_bytes, "a.tiff", "floats of 0 to 255"),
        (not_a_number, "a.tiff", "nan"),
        (bytes_in_32_bits, "a.tiff", "32-bit"),
        (narrow, "a.png", "1 x 4000 pixels"),
        (nothing, "a.png", "not an image"),
    ],
)
def test_what_cannot_be_seen_is_one_line(tmp_path: Path, write: Callable[[Path], None], name: str, words: str) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=words) as caught:
        read_image(tmp_path / name, invert=False)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.png", "does not exist"), (tmp_path, "folder")):
        with pytest.raises(DataError, match=words):
            read_image(path, invert=False)


def test_standard_input_is_read_like_a_file() -> None:
    file = io.BytesIO()
    Image.fromarray(DIGIT).save(file, "PNG")
    assert np.allclose(read_images(io.BytesIO(file.getvalue()), shape=(1, 28, 28))[0, 0], DIGIT / 255)
    with pytest.raises(DataError, match="standard input"):
        read_images(io.BytesIO(b"no image"), shape=(1, 28, 28))


@pytest.mark.parametrize("shape", [(2, 28, 28), (30,)])
def test_networks_of_other_arrays_take_no_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    Image.fromarray(DIGIT).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="arrays"):
        read_images(tmp_path / "a.png", shape=shape)


def test_pages_are_told_from_photographs() -> None:
    drawn = np.broadcast_to(DIGIT / 255, (5, 1, 28, 28)).astype(np.float32)
    noise = np.random.default_rng(1).random((5, 3, 28, 28)).astype(np.float32)
    assert (page_of(drawn), page_of(1 - drawn), page_of(noise)) == (0.0, 1.0, None)
    assert (is_light(drawn[0]), is_light(1 - drawn[0])) == (False, True)


def test_pictures_in_a_set_of_torch_are_seen_too() -> None:
    """Of a palette the numbers are names of colours."""
    palette = Image.fromarray(255 - DIGIT).convert("P", palette=Image.Palette.ADAPTIVE)
    for picture in (palette, Image.fromarray(255 - DIGIT), ink(DIGIT, 0).convert("LA")):
        pairs = [(picture, label) for label in (0, 1)]
        found = Dataset.of(pairs, pairs).train.x
        pictures, labels = zip(*pairs, strict=True)
        assert np.array_equal(Dataset.of(list(pictures), labels, pictures, labels).train.x, found)
        assert np.abs(found[0] - (1 - DIGIT / 255)).max() < 0.01
    coloured = [(Image.fromarray(np.dstack([DIGIT] * 3)), label) for label in (0, 1)]
    assert Dataset.of(coloured, coloured).train.x.shape == (2, 3, 28, 28)
