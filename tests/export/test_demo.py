"""The demo page: one file that draws, answers, and asks nobody for anything."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.export.demo import demo_page, read_runtime
from qpu_sdk.export.weights import Model, Use
from tests.browser import Page, browser, needs_chromium

#: Stands for onnxruntime-web: the logit of class i is the brightness of the i-th quarter from the top.
CODE = """
const env = {wasm: {}}; class T { constructor(kind, data, dims) { this.data = data; this.dims = dims; } }
const S = {create: async bytes => ({run: async ({images}) => {
  const n = images.data.length / 4, sum = i => images.data.slice(i * n, (i + 1) * n).reduce((a, b) => a + b, 0);
  return {logits: {data: Float32Array.from([0, 1, 2, 3], i => sum(i) / 10)}}; }})};
export{S as InferenceSession,T as Tensor,env};
//# sourceMappingURL=stub.mjs.map
"""
FILES = {
    "dist/ort.wasm.bundle.min.mjs": CODE.encode(),
    "dist/ort-wasm-simd-threaded.wasm": b"\0asm",
    "package.json": b'{"name": "onnxruntime-web", "version": "1.30.0"}',
}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def model(use: Use | None = None, **metadata: str) -> Model:
    return Model({"w": torch.zeros(4)}, {"used": json.dumps((use or Use(page=0.0)).to_metadata())} | metadata)


def test_the_runtime_is_read_from_the_package_and_from_its_folder(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for place in (packed(tmp_path / "ort.tgz", FILES), tmp_path):
        found = read_runtime(place)
        assert (found.wasm, found.version) == (b"\0asm", "1.30.0")
        assert found.code.endswith("globalThis.ort = {InferenceSession: S, Tensor: T, env: env};")
        assert "sourceMappingURL" not in found.code  # which a browser's tools would ask for


def test_without_a_runtime_the_way_to_it_is_told() -> None:
    with pytest.raises(ConfigError, match=r"npm pack onnxruntime-web.*--runtime"):
        read_runtime(None)


@pytest.mark.parametrize("change", [{name: None} for name in FILES] + [
    {"package.json": b'{"name": "left-pad", "version": "1"}'},
    {"package.json": b"{"},
    {"package.json": b"[]"},
    {"dist/ort.wasm.bundle.min.mjs": b"export default 3;"},
])  # fmt: skip
def test_what_is_no_runtime_is_told(tmp_path: Path, change: dict[str, bytes | None]) -> None:
    files = {name: content for name, content in (FILES | change).items() if content is not None}
    with pytest.raises(DataError, match="npm pack onnxruntime-web") as told:
        read_runtime(packed(tmp_path / "ort.tgz", files))
    assert "\n" not in str(told.value)


def test_other_files_are_no_runtime(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(b"nothing")
    for place in (tmp_path / "a.tgz", tmp_path / "none.tgz", tmp_path):
        with pytest.raises(DataError, match="is no onnxruntime-web"):
            read_runtime(place)


def test_what_is_put_into_the_page_stays_where_it_is_put(tmp_path: Path) -> None:
    files = FILES | {"dist/ort.wasm.bundle.min.mjs": b"'</script>@@MODEL@@';" + CODE.encode()}
    text = demo_page(
        "<b>@@WASM@@", model(test_accuracy="0.959"), b"@@TITLE@@", read_runtime(packed(tmp_path / "o", files))
    )
    assert "<h1>&lt;b&gt;@@WASM@@</h1>" in text
    assert "95.9 %" in text
    assert "'<\\/script>@@MODEL@@';" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert text == demo_page("<b>@@WASM@@", model(test_accuracy="0.959"), b"@@TITLE@@", read_runtime(tmp_path / "o"))


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8)])
def test_what_nobody_can_draw_has_no_page(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="wants images"):
        demo_page("x", model(Use(shape)), b"", read_runtime(packed(tmp_path / "o", FILES)))


def test_a_network_without_classes_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wants classes"):
        demo_page("x", model(Use((1, 8, 8), values=True)), b"", read_runtime(packed(tmp_path / "o", FILES)))


# -- in a browser ------------------------------------------------------------------------------------------

READY = "document.getElementById('best')?.textContent === 'Draw something.'"
#: A seven, in one stroke, as parts of the paper.
SEVEN = [(0.3, 0.2), (0.45, 0.2), (0.6, 0.2), (0.68, 0.22), (0.62, 0.4), (0.55, 0.55), (0.48, 0.7), (0.43, 0.85)]


def draw(page: Page, points: list[tuple[float, float]]) -> None:
    """With the mouse, until there is an answer."""
    box = page.value("(b => [b.left, b.top, b.width, b.height])(paper.getBoundingClientRect())")
    page.drag([(box[0] + u * box[2], box[1] + v * box[3]) for u, v in points])
    page.wait("document.querySelectorAll('li.best').length === 1")


def shown(page: Page) -> tuple[npt.NDArray[np.float32], list[float]]:
    """What the network was shown, ``(H, W)`` in [0, 1], and the probabilities that the page tells of it."""
    levels, width, answers = page.value(
        "[Array.from(seen.getContext('2d').getImageData(0, 0, seen.width, seen.height).data), seen.width, "
        "Array.from(document.querySelectorAll('#classes li'), row => Number(row.dataset.p))]"
    )
    return np.asarray(levels, dtype=np.float32)[::4].reshape(-1, width) / 255, answers


@needs_chromium
@pytest.mark.parametrize("light", [0.0, 1.0])
def test_a_drawing_is_answered_without_a_request(tmp_path: Path, light: float) -> None:
    """The stub's answers, worked out here from the pixels that the page shows."""
    text = demo_page("x", model(Use(page=light)), b"", read_runtime(packed(tmp_path / "o", FILES)))
    (tmp_path / "demo.html").write_text(text)
    address = (tmp_path / "demo.html").as_uri()
    with browser(tmp_path / "profile") as page:
        for width in (1280, 390):
            page.open(address, width=width)
            page.wait(READY)
            draw(page, SEVEN)
            pixels, found = shown(page)
            quarters = pixels.reshape(4, -1).sum(axis=1) / 10
            assert found == pytest.approx((np.exp(quarters) / np.exp(quarters).sum()).tolist(), abs=1e-4)
            ink = 1 - pixels if light else pixels
            rows, columns = np.nonzero(ink > 0.5)
            assert pixels[0, 0] == light
            assert 16 <= np.ptp(rows) <= 20  # as large as in MNIST
            assert np.ptp(columns) < np.ptp(rows)
            weights = ink / ink.sum()
            assert weights.sum(axis=1) @ (np.arange(28) + 0.5) == pytest.approx(14, abs=0.6)
            assert weights.sum(axis=0) @ (np.arange(28) + 0.5) == pytest.approx(14, abs=0.6)
            assert page.value("document.documentElement.scrollWidth") <= width
            page.value("clear.click()")
            assert page.value("best.textContent") == "Draw something."
            assert not any(shown(page)[1])
        assert set(page.requests) == {address}
        assert page.errors == []
        assert page.value("fetch('https://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
        assert any("Content Security Policy" in error for error in page.errors)
