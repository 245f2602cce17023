"""Pictures: a photo's bytes decoded to upright RGB of one size.

The file's ending is never believed: a decoder is chosen by content.
"""
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from data.pictures.photos import TOO_LARGE, UNREADABLE, BadPhoto

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")  # an MPO opens as JPEG
MAX_PIXELS = 2 * 89_478_485  # what Pillow itself refuses as a decompression bomb
MAX_DECODED_BYTES = 1 << 30  # of one photo while it becomes a square, so of one reader; 22 kB of PNG can ask for more
MAX_SCALED_PIXELS = 1 << 24  # of which "crop" would keep a part; larger ones are cropped before they are scaled
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC,
                  "nearest": Image.Resampling.NEAREST, "lanczos": Image.Resampling.LANCZOS}
VECTORISED = ("bilinear", "bicubic")  # that torch computes as Pillow does, to one level of 255 and several times faster
RESIZE_RULES = ("squash", "crop")

_ORIENTATION = 0x0112
_UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90}

# Pillow warns of broken EXIF, palettes and sizes below its limit: photos found on the web, each with a status here.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
warnings.filterwarnings("ignore", "The given buffer is not writable")  # nor is it written to


@dataclass(frozen=True)
class Resize:
    """How a picture becomes a square of `size` pixels.

    Attributes:
        rule: "squash" scales both sides to `size`; "crop" scales the shorter side to `short_side` and cuts the
            centre out, as torchvision's ImageClassification transform does.
        interpolation: a key of INTERPOLATIONS, antialiased as Pillow's filters and torchvision's are on pictures.
        exact: decode JPEGs in full. Else they are decoded at 1/2, 1/4 or 1/8, never below twice the side they are
            scaled to: six times faster at 12 MP, mean error 0.6 of 255.
    """

    rule: str
    size: int
    short_side: int
    interpolation: str = "bilinear"
    exact: bool = False

    def __post_init__(self) -> None:
        if self.rule not in RESIZE_RULES or self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"expected a resize rule of {', '.join(RESIZE_RULES)} with an interpolation of "
                             f"{', '.join(INTERPOLATIONS)}, found {self.rule!r} with {self.interpolation!r}")
        if not 1 <= self.size <= self.short_side <= 4096:
            raise ValueError(f"expected 1 <= size <= short side <= 4096, found {self.size} and {self.short_side}")


def decode_photo(content: bytes, resize: Resize) -> np.ndarray:
    """Decode a photo to upright RGB of one size.

    Args:
        content: the file's bytes.

    Returns:
        (size, size, 3) uint8: EXIF rotation applied, transparency over white, 16 bits reduced to 8, CMYK as Pillow
        converts it, of an animation the first frame.

    Raises:
        BadPhoto: if it is no image of ENDINGS, broken, or larger than MAX_PIXELS or MAX_DECODED_BYTES.
    """
    with blame_photo(content):
        return resize_picture(open_picture(content, resize), resize)


def open_picture(content: bytes, resize: Resize) -> Image.Image:
    """Decode a photo to an upright RGB picture, at reduced size where `resize` allows; see `decode_photo`."""
    with blame_photo(content):
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            raise BadPhoto(TOO_LARGE, "decompression bomb", f"{picture.width} x {picture.height} pixels")
        coefficients = 6 * picture.width * picture.height if picture.info.get("progressive") else 0
        if not resize.exact and picture.format in ("JPEG", "MPO"):
            side = 2 * (resize.size if resize.rule == "squash" else resize.short_side)
            picture.draft(None, (side, side))  # before load(), or it does nothing
        # at its peak, measured: decoded, as RGB of 4 bytes a pixel, as bytes for scaling
        per_pixel = 20 if picture.has_transparency_data else 30 if picture.mode in ("I", "F") else 10
        if (needed := coefficients + picture.width * picture.height * per_pixel) > MAX_DECODED_BYTES:
            raise BadPhoto(TOO_LARGE, "too large to decode", f"{picture.width} x {picture.height} pixels of mode "
                           f"{picture.mode} take {needed >> 20} MB, at most {MAX_DECODED_BYTES >> 20} are given to one")
        picture.load()
        return _to_rgb(_turn_upright(picture))


@contextmanager
def blame_photo(content: bytes) -> Iterator[None]:
    """Turn whatever a photo's bytes make the block raise into BadPhoto: a file from the web never ends a command.

    Args:
        content: the file's bytes, to name what they are where they are no image.
    """
    try:
        yield
    except BadPhoto:
        raise
    except Image.DecompressionBombError as error:
        raise BadPhoto(TOO_LARGE, "decompression bomb", str(error)) from None
    except MemoryError:
        raise BadPhoto(TOO_LARGE, "out of memory") from None
    except RuntimeError as error:  # torch, for want of memory among other things
        status, cause = (TOO_LARGE, "out of memory") if "alloc" in str(error) else (UNREADABLE, "broken image")
        raise BadPhoto(status, cause, f"{type(error).__name__}: {error}") from None
    except UnidentifiedImageError:
        is_page = content[:512].lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
        raise BadPhoto(UNREADABLE, "a web page" if is_page else "not an image") from None
    except OSError as error:
        cause = "truncated" if "truncated" in str(error) or "Truncated" in str(error) else "broken image"
        raise BadPhoto(UNREADABLE, cause, str(error)) from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds on broken bytes, and new ones in every version
        raise BadPhoto(UNREADABLE, "broken image", f"{type(error).__name__}: {error}") from None


def resize_picture(picture: Image.Image, resize: Resize) -> np.ndarray:
    """Scale an RGB picture to (size, size, 3) uint8."""
    side = resize.size
    if resize.rule == "squash":
        return _scale(picture, (side, side), resize.interpolation)
    width, height = picture.size
    short = resize.short_side
    # torchvision truncates the longer side and rounds the corner of the crop
    scaled = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    left, top = round((scaled[0] - side) / 2), round((scaled[1] - side) / 2)
    if scaled[0] * scaled[1] > MAX_SCALED_PIXELS:  # a strip: the same numbers, to one level of 255
        across, down = width / scaled[0], height / scaled[1]
        box = (left * across, top * down, (left + side) * across, (top + side) * down)
        return np.asarray(picture.resize((side, side), INTERPOLATIONS[resize.interpolation], box=box))
    return _scale(picture, scaled, resize.interpolation)[top:top + side, left:left + side].copy()


def make_thumbnail(picture: Image.Image, side: int) -> bytes:
    """A JPEG whose longer side is at most `side` pixels; it is the picture itself that is scaled, to spare a copy."""
    picture.thumbnail((side, side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return file.getvalue()


def _scale(picture: Image.Image, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """An RGB picture scaled to (width, height) = `size`, as (height, width, 3) uint8."""
    if interpolation not in VECTORISED:
        return np.asarray(picture.resize(size, INTERPOLATIONS[interpolation]))
    import torch  # takes a second, and most commands scale nothing
    pixels = torch.frombuffer(picture.tobytes(), dtype=torch.uint8).view(1, picture.height, picture.width, 3)
    scaled = torch.nn.functional.interpolate(pixels.permute(0, 3, 1, 2), size[::-1], mode=interpolation, antialias=True)
    return scaled[0].permute(1, 2, 0).contiguous().numpy()


def _turn_upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata around a good picture, in as many ways as there are cameras
        return picture
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):  # Pillow would clip at 255
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        return Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return picture.convert("RGB")
