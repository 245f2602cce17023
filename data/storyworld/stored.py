"""How a picture becomes a file: mostly a JPEG, now and then something a reader must cope with."""
import io

from PIL import ExifTags, Image, ImageDraw, ImageFont

from data.storyworld.canvas import HEIGHT, WIDTH

JPEG_QUALITY = 90
KEPT_OF_TRUNCATED = 0.45
TURNED_LEFT = 6                 # Exif orientation: turn a quarter clockwise to see it upright


def photo_bytes(picture: Image.Image, kind: str) -> tuple[str, bytes] | None:
    """A photo's file extension and content; None where there is no file.

    Args:
        picture: 360 x 270 RGB.
        kind: one of albums.PHOTO_KINDS, or "ok".
    """
    if kind == "missing":
        return None
    if kind == "unavailable":
        return "jpg", _encoded(unavailable_picture())
    if kind == "truncated":
        content = _encoded(picture)
        return "jpg", content[:int(len(content) * KEPT_OF_TRUNCATED)]
    if kind == "rotated":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = TURNED_LEFT
        return "jpg", _encoded(picture.transpose(Image.Transpose.ROTATE_90), exif)
    if kind == "grey":
        return "jpg", _encoded(picture.convert("L"))
    if kind == "alpha":
        return "png", _rounded_png(picture)
    return "jpg", _encoded(picture)


def _encoded(picture: Image.Image, exif: Image.Exif | None = None) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=JPEG_QUALITY, **({"exif": exif} if exif else {}))
    return stream.getvalue()


def _rounded_png(picture: Image.Image) -> bytes:
    """The picture with transparent corners."""
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, WIDTH - 1, HEIGHT - 1), 40, 255)
    picture = picture.copy()
    picture.putalpha(mask)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def unavailable_picture() -> Image.Image:
    """What a photo site sends in place of a deleted photo."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (238, 238, 240))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((130, 80, 230, 150), 10, (178, 180, 188))
    pen.rectangle((164, 70, 196, 84), (178, 180, 188))
    pen.ellipse((158, 94, 202, 138), (238, 238, 240))
    pen.ellipse((166, 102, 194, 130), (178, 180, 188))
    pen.line((122, 158, 238, 68), (238, 238, 240), 8)
    pen.text((WIDTH / 2, 184), "This photo is no longer available", (130, 132, 140), ImageFont.load_default(16),
             anchor="mm")
    return picture
