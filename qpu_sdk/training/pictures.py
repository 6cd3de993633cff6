"""Pictures as a person sees them: upright, transparent ones on a page, whatever kind of number their pixels are."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..words import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

#: Endings of the files that are taken for pictures in a folder.
PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm"})
#: A picture may be so many times as long as it is wide, compared with what a network takes.
NARROWEST = 10
#: Share of the outermost pixels that is a page's, so that images are known to be drawn on one.
PAGE = 0.9
#: Largest number of 16 bits; formats whose pictures may have many frames or pages.
_WORD, _SEVERAL = 65535, ("GIF", "PNG", "WEBP", "TIFF")


def read_picture(file: BinaryIO, name: str) -> Image:
    """A picture from an open file, whole and upright.

    :param name: of the file, for messages.
    :raises DataError: when it is none, is damaged, has several frames, or would take gigabytes.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of EXIF data that are damaged: the pixels are not
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture: Image.Image = Image.open(file)
            frames = getattr(picture, "n_frames", 1) if picture.format in _SEVERAL else 1
            if frames == 1:
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)  # cameras write how they were held
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name} is larger than is read at once ({one_line(error, 120)}). Make it smaller.") from error
    except Exception as error:  # Pillow raises a dozen types for damaged files
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "of no kind that is known" if unknown else one_line(error, 160)
        raise DataError(f"{name} is not an image ({reason}). Give a PNG, a JPEG, or a .npy array.") from error
    if frames > 1:
        raise DataError(f"{name} has {frames} frames or pages. Save the one that is meant in a file of its own.")
    return picture


def seen(picture: Image, name: str, *, colours: bool) -> Image:
    """The picture as it looks on a page: grey (``L``), coloured (``RGB``), or grey in floats (``F``) in [0, 1].

    :param name: of the picture, for messages.
    :param colours: False for grey.
    :raises DataError: when the numbers of its pixels say no brightness.
    """
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _of_wide_numbers(picture, name)
    if picture.has_transparency_data:
        picture = _on_its_page(picture.convert("RGBA"))
    if picture.mode not in ("1", "L", "RGB", "RGBA"):
        picture = picture.convert("RGB")  # first: not every mode can be made grey at once
    return picture.convert("RGB" if colours else "L")


def fitted(picture: Image, size: tuple[int, int], name: str) -> Image:
    """The picture in another size, its sides in the same proportion, the rest filled as its border is.

    :param size: height and width.
    :raises DataError: when it is so narrow that little would be left of it.
    """
    from PIL import Image

    height, width = size
    if picture.size == (width, height):
        return picture
    scale = min(width / picture.width, height / picture.height)
    if max(width / picture.width, height / picture.height) > NARROWEST * scale:
        raise DataError(
            f"{name} is {picture.height} x {picture.width} pixels; the network takes {height} x {width}, and little "
            "would be left of it. Cut out what is meant."
        )
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    border = np.median(_rim(np.asarray(picture)), axis=0)
    fill = float(border) if picture.mode == "F" else tuple(int(level) for level in np.atleast_1d(border))
    page = Image.new(picture.mode, (width, height), fill)
    page.paste(picture.resize(inner, Image.Resampling.LANCZOS), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return page


def brightness(picture: Image) -> npt.NDArray[np.float32]:
    """Pixels in [0, 1] of a picture that :func:`seen` gave.

    :returns: ``(1, H, W)``, or of colours ``(3, H, W)``.
    """
    levels = np.asarray(picture).astype(np.float32)
    if picture.mode != "F":
        levels /= np.float32(255)
    np.clip(levels, 0, 1, out=levels)  # making a picture smaller sharpens it a little beyond
    return levels[None] if levels.ndim == 2 else np.ascontiguousarray(levels.transpose(2, 0, 1))


def page_of(images: npt.NDArray[np.float32]) -> float | None:
    """0 for images ``(n, C, H, W)`` on a dark page, 1 for a light one, None when their borders are no page."""
    rim = _rim(np.moveaxis(images, (2, 3), (0, 1)))
    dark, light = float((rim < 0.25).mean()), float((rim > 0.75).mean())
    return 0.0 if dark >= PAGE else 1.0 if light >= PAGE else None


def is_light(image: npt.NDArray[np.float32]) -> bool:
    """Whether the border of one image, ``(C, H, W)``, is light: paper is seldom as white as in a file."""
    return float(np.median(_rim(image.transpose(1, 2, 0)))) > 0.5


def _rim(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost pixels of ``(H, W, ...)``, one after the other, ``(n, ...)``."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _on_its_page(picture: Image) -> Image:
    """What is transparent shows the page: as bright as an opaque border, else white, or black below light ink."""
    from PIL import Image

    levels, alpha = np.asarray(picture.convert("L")) / 255, np.asarray(picture.getchannel("A")) / 255
    opaque = _rim(alpha) > 0.5
    if opaque.mean() >= 0.5:
        page = float(np.median(_rim(levels)[opaque]))
    else:
        page = 0.0 if alpha.any() and np.average(levels, weights=alpha) > 0.5 else 1.0
    grey = round(255 * page)
    return Image.alpha_composite(Image.new("RGBA", picture.size, (grey, grey, grey, 255)), picture)


def _of_wide_numbers(picture: Image, name: str) -> Image:
    """Pixels of 16 and 32 bits by what their type means; what it leaves open is refused."""
    from PIL import Image

    levels = np.asarray(picture).astype(np.float64)
    low, high = float(levels.min()), float(levels.max())
    if picture.mode == "F":
        scale, fits = 1.0, 0.0 <= low <= high <= 1.0  # NaN fits nowhere
    else:
        words = picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM")  # which know 16 bits at most
        scale, fits = _WORD, low >= 0 and (words or 255 < high <= _WORD)
    if not fits:
        kind = "floats" if picture.mode == "F" else "32-bit numbers"
        raise DataError(
            f"{name} has {kind} of {low:g} to {high:g}, and nothing says which is white. Save it with 8 or 16 bits, or "
            "as floats in [0, 1]."
        )
    return Image.fromarray((levels / scale).astype(np.float32))
