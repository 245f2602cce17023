"""Photos: found by id, every kind of bad one has a status and a cause, every odd one its right pixels."""
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.pictures import pictures
from data.pictures.photos import MISSING, OK, TOO_LARGE, UNREADABLE, BadPhoto, find_photos, read_photo, scan_photos
from data.pictures.pictures import Resize, decode_photo, make_thumbnail, open_picture
from extract.pipeline.reader import Reader, Task

SQUASH = Resize("squash", 32, 36)
EXACT = Resize("squash", 32, 36, exact=True)


def ramp(width=80, height=60):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 256], axis=-1).astype(np.uint8)


def encode(picture, kind="PNG", **settings):
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def squashed(array):
    return np.asarray(Image.fromarray(array).resize((32, 32), Image.Resampling.BILINEAR))


def test_photos_are_found_anywhere_by_any_ending_in_any_case(tmp_path):
    for name in ("1.jpg", "sub/2.JPEG", "sub/deep/3.Png", "4.gif", "5.WebP", "a.b@c-d_e.jpg", "6.txt", ".7.jpg",
                 ".cache/8.jpg", "9.jpg.part", "../outside.jpg"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(b"x")
    assert sorted(find_photos(tmp_path / "root")) == ["1", "2", "3", "4", "5", "a.b@c-d_e"]


def test_of_two_files_for_one_id_the_smallest_path_is_taken_and_said(tmp_path):
    for name in ("b/1.jpg", "a/1.png", "c/1.gif"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    found, notes = scan_photos(tmp_path)
    assert found["1"].path == str(tmp_path / "a/1.png")
    assert len(notes) == 1 and "1 photo ids" in notes[0] and "a/1.png" in notes[0]


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/1.jpg").write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "up").symlink_to(root)
    (root / "2.jpg").symlink_to("2.jpg")
    (root / "3.jpg").symlink_to("nowhere.jpg")
    assert sorted(find_photos(root)) == ["1"]
    (root / "album").mkdir()
    (root / "album/4.jpg").write_bytes(b"x")
    (root / "album/again").symlink_to(root / "album")
    assert scan_photos(root)[0]["4"].path == str(root / "album/4.jpg")
    assert scan_photos(root)[1] == []  # one file on two ways is no rival of itself


def test_a_reader_never_waits_on_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").mkdir()
    (tmp_path / "3.jpg").write_bytes(b"")
    for name, status, cause in (("0.jpg", MISSING, "missing"), ("1.jpg", UNREADABLE, "no regular file"),
                                ("2.jpg", UNREADABLE, "no regular file"), ("3.jpg", UNREADABLE, "empty file")):
        with pytest.raises(BadPhoto) as caught:
            read_photo(tmp_path / name)
        assert (caught.value.status, caught.value.cause) == (status, cause)


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / "1.jpg", "wb") as file:
        file.truncate(10**12)  # sparse
    with pytest.raises(BadPhoto) as caught:
        read_photo(tmp_path / "1.jpg")
    assert caught.value.status == TOO_LARGE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"x")
    (tmp_path / "1.jpg").chmod(0)
    with pytest.raises(BadPhoto) as caught:
        read_photo(tmp_path / "1.jpg")
    assert (caught.value.status, caught.value.cause) == (UNREADABLE, "no permission")


def test_an_open_that_is_refused_is_no_permission(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BadPhoto) as caught:
        read_photo(tmp_path / "1.jpg")
    assert (caught.value.status, caught.value.cause) == (UNREADABLE, "no permission")


def bomb(width=60_000, height=60_000):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


@pytest.mark.parametrize("content, status, cause", [
    (b"<!DOCTYPE html><html><body>gone</body></html>", UNREADABLE, "a web page"),
    (b"\n <HTML>", UNREADABLE, "a web page"),
    (b"GIF89a", UNREADABLE, None),
    (b"%PDF-1.4", UNREADABLE, "not an image"),
    (bytes(5000), UNREADABLE, "not an image"),
    (b"\xff\xd8\xff\xe0" + bytes(100), UNREADABLE, None),
    (encode(Image.fromarray(ramp(400, 300)), "JPEG")[:3000], UNREADABLE, "truncated"),
    (encode(Image.fromarray(ramp(400, 300)), "PNG")[:700], UNREADABLE, "truncated"),
    (encode(Image.fromarray(ramp(400, 300)), "WEBP")[:300], UNREADABLE, None),
    (bomb(), TOO_LARGE, "decompression bomb"),
    (bomb(13_000, 13_800), TOO_LARGE, "decompression bomb"),
    (bomb(13_000, 13_700), TOO_LARGE, "too large to decode"),
])
def test_bad_bytes_have_a_status_and_a_cause(content, status, cause):
    with pytest.raises(BadPhoto) as caught:
        decode_photo(content, SQUASH)
    assert caught.value.status == status
    assert cause in (None, caught.value.cause)


def decode_within(content: bytes, resize: str, tmp_path, limit: int) -> str:
    """Decode in a process that may have so many bytes of its own; say the shape or the error."""
    (tmp_path / "photo").write_bytes(content)
    code = ("import sys\nfrom pathlib import Path\nimport torch\n"
            "from data.pictures.pictures import Resize, decode_photo\n"
            "torch.set_num_threads(1)\nimport resource\n"
            "used = int(Path('/proc/self/status').read_text().partition('VmData:')[2].split()[0]) * 1024\n"
            "resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]),) * 2)\n"
            f"print(decode_photo(Path(sys.argv[1]).read_bytes(), {resize}).shape)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "photo"), str(limit)], capture_output=True,
                          text=True, cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"})
    return done.stdout.strip() or done.stderr


def test_a_strip_is_cropped_before_it_is_scaled(tmp_path):
    strip = encode(Image.fromarray(ramp(60_000, 2)[:, :1].repeat(60_000, axis=1)))
    upright = encode(Image.new("RGB", (1, 60_000), (200, 100, 50)))
    for content in (strip, upright):
        assert decode_within(content, "Resize('crop', 224, 256)", tmp_path, 100 << 20) == "(224, 224, 3)"
    assert (decode_photo(upright, Resize("crop", 224, 256)) == (200, 100, 50)).all()


@pytest.mark.parametrize("size, scaled", [((3, 400), (36, 4800)), ((400, 3), (4800, 36)), ((40, 500), (36, 450))])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_cropping_first_gives_what_scaling_first_gives(monkeypatch, size, scaled, interpolation):
    picture = Image.fromarray(ramp(*size))
    whole = np.asarray(picture.resize(scaled, pictures.INTERPOLATIONS[interpolation]))
    left, top = (scaled[0] - 32) // 2, (scaled[1] - 32) // 2
    monkeypatch.setattr(pictures, "MAX_SCALED_PIXELS", 1)
    cropped = decode_photo(encode(picture), Resize("crop", 32, 36, interpolation))
    assert np.abs(cropped.astype(int) - whole[top:top + 32, left:left + 32]).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_decoding_takes_no_more_than_what_is_given_to_one_photo(tmp_path, monkeypatch, mode):
    content = encode(Image.new(mode, (3000, 3000)), compress_level=1)
    needed = 9_000_000 * (20 if mode == "RGBA" else 10)
    assert decode_within(content, "Resize('squash', 32, 36)", tmp_path, needed + (32 << 20)) == "(32, 32, 3)"
    monkeypatch.setattr(pictures, "MAX_DECODED_BYTES", needed - 1)
    with pytest.raises(BadPhoto, match="too large to decode"):
        decode_photo(content, SQUASH)


@pytest.mark.parametrize("error, status, cause", [
    (ZeroDivisionError("division"), UNREADABLE, "broken image"), (MemoryError(), TOO_LARGE, "out of memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), TOO_LARGE, "out of memory"),
    (AssertionError("a decoder's own"), UNREADABLE, "broken image")])
@pytest.mark.parametrize("where", ["open_picture", "resize_picture", "make_thumbnail"])
def test_whatever_a_file_makes_a_reader_raise_is_a_bad_row(tmp_path, monkeypatch, error, status, cause, where):
    def fail(*arguments):
        raise error
    (tmp_path / "1.png").write_bytes(encode(Image.fromarray(ramp())))
    reader = Reader(SQUASH, 16, 1, 2, {})
    good, = reader.read([Task(0, 0, tmp_path / "1.png", True)])
    monkeypatch.setattr(f"extract.pipeline.reader.{where}", fail)
    bad, = reader.read([Task(0, 0, tmp_path / "1.png", True)])
    assert good.status == OK and good.picture is not None and good.thumbnail
    assert (bad.status, bad.cause, bad.picture) == (status, cause, None)


def test_no_cut_or_flipped_photo_raises_anything_else():
    random, fates = np.random.default_rng(0), Counter()
    whole = [encode(Image.fromarray(ramp()), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        for content in whole:
            for _ in range(60):
                broken = bytearray(content)
                for place in random.integers(0, len(broken), random.integers(1, 5)):
                    broken[place] = random.integers(0, 256)
                cut = bytes(broken[:random.integers(1, 2 * len(broken))])  # half of them whole
                try:
                    assert decode_photo(cut, SQUASH).shape == (32, 32, 3)
                    fates["shown"] += 1
                except BadPhoto:
                    fates["refused"] += 1
    assert fates["shown"] > 10 and fates["refused"] > 100


def test_pillows_warnings_do_not_leak(recwarn):
    exif = Image.Exif()
    exif[0x0112] = 3
    content = encode(Image.fromarray(ramp()), "JPEG", exif=exif)
    broken = content.replace(b"Exif\x00\x00MM\x00*", b"Exif\x00\x00MM\x00\x00")
    decode_photo(broken, SQUASH)
    assert not [warning for warning in recwarn if "PIL" in str(warning.filename)]


@pytest.mark.parametrize("orientation, method", [
    (1, None), (2, Image.Transpose.FLIP_LEFT_RIGHT), (3, Image.Transpose.ROTATE_180),
    (4, Image.Transpose.FLIP_TOP_BOTTOM), (5, Image.Transpose.TRANSPOSE), (6, Image.Transpose.ROTATE_270),
    (7, Image.Transpose.TRANSVERSE), (8, Image.Transpose.ROTATE_90), (9, None)])
def test_a_rotated_photo_is_turned_upright(orientation, method):
    picture = Image.fromarray(ramp())
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = picture if method is None else picture.transpose(method)
    for kind in ("PNG", "WEBP"):
        settings = {"lossless": True} if kind == "WEBP" else {}
        found = decode_photo(encode(picture, kind, exif=exif, **settings), SQUASH)
        assert np.array_equal(found, squashed(np.asarray(upright)))


def test_transparency_lies_over_white():
    array = np.dstack([ramp(), np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))])
    alpha = array[..., 3:].astype(float) / 255
    expected = squashed(np.round(array[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)).astype(int)
    assert abs(decode_photo(encode(Image.fromarray(array)), SQUASH) - expected).max() <= 1
    grey = Image.fromarray(array[..., 0]).convert("LA")
    grey.putalpha(0)
    assert (decode_photo(encode(grey), SQUASH) == 255).all()


def test_a_palette_with_a_transparent_colour_is_white_there():
    picture = Image.new("P", (10, 10), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(0, (0, 0, 5, 10))
    for kind in ("GIF", "PNG"):
        found = decode_photo(encode(picture, kind, transparency=0), SQUASH)
        assert found[16, 2].tolist() == [255, 255, 255] and found[16, 29].tolist() == [0, 0, 255]


def test_sixteen_bits_become_eight_and_are_not_clipped():
    wide = np.tile(np.linspace(0, 65535, 80).astype(np.uint16), (60, 1))
    expected = squashed(np.dstack([(wide >> 8).astype(np.uint8)] * 3)).astype(int)
    assert abs(decode_photo(encode(Image.fromarray(wide)), SQUASH) - expected).max() <= 1


def test_grey_one_bit_and_cmyk_have_their_colours():
    grey = ramp()[..., 0]
    assert np.array_equal(decode_photo(encode(Image.fromarray(grey)), SQUASH), squashed(np.dstack([grey] * 3)))
    assert (decode_photo(encode(Image.new("1", (8, 8), 1)), SQUASH) == 255).all()
    red = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    assert abs(decode_photo(encode(red, "JPEG", quality=95), SQUASH).astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    settings = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **settings)
    assert (decode_photo(content, SQUASH) == [255, 0, 0]).all()


def test_of_a_camera_with_two_pictures_the_first_is_taken():
    first = Image.fromarray(ramp(640, 480))
    content = encode(first, "MPO", save_all=True, append_images=[Image.new("RGB", (640, 480))], quality=95)
    assert abs(decode_photo(content, EXACT).astype(int) - squashed(ramp(640, 480))).mean() < 3


def test_one_pixel_fills_the_square():
    content = encode(Image.new("RGB", (1, 1), (7, 8, 9)))
    assert (decode_photo(content, SQUASH) == [7, 8, 9]).all()
    assert (decode_photo(content, Resize("crop", 32, 36)) == [7, 8, 9]).all()


def test_the_ending_is_not_believed(tmp_path):
    (tmp_path / "1.jpg").write_bytes(encode(Image.fromarray(ramp()), "PNG"))
    assert np.array_equal(decode_photo(read_photo(tmp_path / "1.jpg"), SQUASH), squashed(ramp()))


@pytest.mark.parametrize("size", [(80, 60), (60, 80), (37, 301), (36, 36)])
def test_cropping_equals_torchvision(size):
    functional = pytest.importorskip("torchvision.transforms.functional")
    picture = Image.fromarray(ramp(*size))
    expected = functional.center_crop(functional.resize(picture, [36], antialias=True), [32])
    assert np.array_equal(decode_photo(encode(picture), Resize("crop", 32, 36)), np.asarray(expected))


def test_reduced_decoding_keeps_twice_the_side_and_can_be_switched_off():
    content = encode(Image.fromarray(ramp(1000, 520)), "JPEG", quality=95)
    assert open_picture(content, SQUASH).size == (125, 65)
    assert open_picture(content, Resize("crop", 32, 36)).size == (250, 130)
    assert open_picture(content, EXACT).size == (1000, 520)
    reduced, exact = (decode_photo(content, resize).astype(int) for resize in (SQUASH, EXACT))
    assert 0 < abs(reduced - exact).mean() < 1


def test_a_thumbnail_keeps_the_proportions_and_never_grows():
    small = Image.open(io.BytesIO(make_thumbnail(Image.fromarray(ramp(400, 100)), 40)))
    assert small.format == "JPEG" and small.size == (40, 10)
    assert Image.open(io.BytesIO(make_thumbnail(Image.fromarray(ramp(20, 10)), 40))).size == (20, 10)


def test_an_unknown_rule_or_size_is_refused():
    with pytest.raises(ValueError, match="resize rule"):
        Resize("stretch", 32, 36)
    with pytest.raises(ValueError, match="short side"):
        Resize("crop", 32, 30)
