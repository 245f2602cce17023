"""What a browser sends, in memory and within limits: photos, and key frames of videos."""
import importlib.util
import io
from itertools import islice
from typing import Any

from PIL import Image

from data.errors import UserError
from data.pictures.photos import TOO_LARGE, BadPhoto
from data.pictures.pictures import FORMATS, blame_photo
from extract.extras import require_extra

MAX_PHOTO_BYTES = 32 << 20
MAX_PHOTO_PIXELS = 64_000_000
MAX_VIDEO_BYTES = 256 << 20
MAX_VIDEO_PIXELS = 16_000_000  # of a frame: 4K has eight
MAX_KEY_FRAMES = 100_000       # that are looked for; a day of video has fewer


def require_small(content: bytes) -> None:
    """Refuse a photo by what its header says, before a pixel is decoded.

    Raises:
        BadPhoto: if it is no photo, or has more than MAX_PHOTO_PIXELS.
    """
    with blame_photo(content):
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        if picture.width * picture.height > MAX_PHOTO_PIXELS:
            raise BadPhoto(TOO_LARGE, f"{picture.width} x {picture.height} pixels, more than "
                                      f"{MAX_PHOTO_PIXELS // 1_000_000} million")


def can_read_videos() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def read_key_frames(content: bytes, count: int) -> list[bytes]:
    """Key frames of a video, evenly spread over it, as JPEGs.

    The container is chosen here and never guessed by ffmpeg: its playlists name files of this machine.

    Args:
        content: of an MP4, MOV, WebM, MKV or AVI file. count: frames at most.

    Raises:
        UserError: if it is no such video, broken or too large, or PyAV is absent.
    """
    av = require_extra("av", "video", "key frames of a video")
    container = ("mov" if content[4:8] == b"ftyp" else "matroska" if content[:4] == b"\x1aE\xdf\xa3" else
                 "avi" if content[:4] == b"RIFF" and content[8:12] == b"AVI " else None)
    if container is None:
        raise UserError("expected an MP4, MOV, WebM, MKV or AVI video, found something else; choose another file")
    try:
        with av.open(io.BytesIO(content), format=container) as video:
            return _decode_key_frames(video, count)
    except UserError:
        raise
    except (av.error.FFmpegError, ValueError, EOFError, OSError, MemoryError) as error:
        raise UserError(f"expected a whole video, found a broken one ({type(error).__name__}); choose another "
                        "file") from None


def _decode_key_frames(video: Any, count: int) -> list[bytes]:
    if not video.streams.video:
        raise UserError("expected a video, found a file without pictures; choose another file")
    stream = video.streams.video[0]
    if stream.width * stream.height > MAX_VIDEO_PIXELS:
        raise UserError(f"expected a video of at most {MAX_VIDEO_PIXELS // 1_000_000} million pixels, found "
                        f"{stream.width} x {stream.height}; make it smaller")
    packets = (packet.pts for packet in video.demux(stream) if packet.is_keyframe and packet.pts is not None)
    times = sorted(islice(packets, MAX_KEY_FRAMES))
    frames = []
    for time in dict.fromkeys(times[(2 * place + 1) * len(times) // (2 * count)] for place in range(count)
                              if times):
        video.seek(time, stream=stream)
        frame = next(video.decode(stream), None)
        if frame is not None:
            file = io.BytesIO()
            frame.to_image().convert("RGB").save(file, "JPEG", quality=92)
            frames.append(file.getvalue())
    if not frames:
        raise UserError("expected key frames in the video, found none; choose another file")
    return frames
