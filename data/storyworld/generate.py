"""Write a storyworld in VIST's layout: OUT/annotations/*.json and OUT/images/<photo id>.<extension>.

Every record has the keys that the official files have. Most pictures become a JPEG, now and then one something that a
reader must cope with.
"""
import io
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageDraw, ImageFont

from data.cores import count_cores
from data.errors import UserError
from data.files import replace_folder, write_text
from data.progress import Progress
from data.storyworld.albums import Album, Photo, World, build_world
from data.storyworld.canvas import HEIGHT, WIDTH
from data.storyworld.config import WORLD_VERSION, WorldConfig
from data.storyworld.picture import draw_picture
from data.storyworld.sentences import natural_text
from data.storyworld.world import HEROES, NUM_STAGES

logger = logging.getLogger(__name__)

PHOTOS_PER_TASK = 32
FEWEST_FOR_WORKERS = 400        # starting processes takes longer than drawing fewer photos than this
HOURS = (8, 10, 12, 15, 18)         # when the photos of the five stages are taken
LICENSE = "7"                       # Flickr's number for "no known copyright restrictions"
JPEG_QUALITY = 90
KEPT_OF_TRUNCATED = 0.45
TURNED_LEFT = 6                 # Exif orientation: turn a quarter clockwise to see it upright


def write_world(config: WorldConfig, out: Path) -> Path:
    """Write the world that `config` describes; the same files, byte by byte, whatever the number of workers.

    Nothing is written to `out` before everything is complete; where it holds exactly this world it is left as it is.

    Raises:
        UserError: if `out` holds anything else.
    """
    if _holds_world(config, out):
        logger.info("%s already holds this storyworld, nothing to do", out)
        return out
    world = build_world(config)
    with replace_folder(out) as folder:
        write_annotations(world, folder / "annotations")
        _write_photos(world, folder / "images", config.workers or count_cores())
    return out


def _holds_world(config: WorldConfig, out: Path) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    remedy = "choose another folder or delete this one"
    path = out / "annotations" / "train.story-in-sequence.json"
    if not path.is_file():
        raise UserError(f"expected {out} to be absent, empty or a storyworld, found other content; {remedy}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["info"]["storyworld"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"expected a storyworld in {out}, found annotations of another origin; {remedy}") from None
    if found != config.spec():
        raise UserError(f"expected the storyworld {config.spec()} in {out}, found {found}; {remedy}")
    return True


def _write_photos(world: World, folder: Path, workers: int) -> None:
    folder.mkdir()
    photos = [photo for albums in world.splits.values() for album in albums for photo in album.photos]
    tasks = [(photos[start:start + PHOTOS_PER_TASK], world.config.seed, folder)
             for start in range(0, len(photos), PHOTOS_PER_TASK)]
    progress = Progress(len(photos), "photos drawn")
    if workers == 1 or len(photos) < FEWEST_FOR_WORKERS:
        for task in tasks:
            progress.add(draw_photos(*task))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for count in pool.map(draw_photos, *zip(*tasks)):
                progress.add(count)
    progress.close()


def draw_photos(photos: list[Photo], seed: int, folder: Path) -> int:
    """Draw and write photos; each depends on its own id and scene only. Returns how many."""
    for photo in photos:
        picture = draw_picture(photo.scene, f"storyworld/{WORLD_VERSION}/{seed}/picture/{photo.photo_id}")
        stored = photo_bytes(picture, photo.kind)
        if stored is not None:
            extension, content = stored
            (folder / f"{photo.photo_id}.{extension}").write_bytes(content)
    return len(photos)


def write_annotations(world: World, folder: Path) -> None:
    """Write `{split}.story-in-sequence.json` and `{split}.description-in-isolation.json` for the three splits."""
    def date(album: Album, stage: int) -> str:
        return f"2016-{1 + album.index // 28 % 12:02d}-{1 + album.index % 28:02d} {HOURS[stage]:02d}:00:00"

    spec = world.config.spec()
    for split, albums in world.splits.items():
        shared = {
            "info": {"year": 2016, "version": f"storyworld {spec['version']}", "contributor": "storyworld",
                     "description": f"A drawn world in VIST's layout, {split} split", "url": "",
                     "date_created": "2016-05-04 00:00:00", "storyworld": spec},
            "images": [{
                "album_id": album.album_id, "datetaken": date(album, photo.scene.stage), "id": photo.photo_id,
                "latitude": "0", "license": LICENSE, "longitude": "0", "media": "photo", "secret": "storyworld",
                "tags": "", "text": "", "title": "", "url_o": f"storyworld:{photo.photo_id}"}
                for album in albums for photo in album.photos],
            "albums": [{
                "date_create": date(album, 0), "date_update": date(album, NUM_STAGES - 1),
                "description": f"A {album.photos[0].scene.weather} day", "farm": "1", "id": album.album_id,
                "owner": "storyworld", "photos": str(len(album.photos)), "primary": album.photos[0].photo_id,
                "secret": "storyworld", "server": "1", "vist_label": "day_out",
                "title": f"{HEROES[album.photos[0].scene.hero].name}'s day"} for album in albums]}
        told: list[dict[str, Any]] = [{
            "album_id": album.album_id, "original_text": natural_text(words, photo.scene),
            "photo_flickr_id": photo.photo_id, "setting": story.setting, "story_id": story.story_id,
            "storylet_id": f"{story.story_id}{order}", "text": " ".join(words), "tier": "story-in-sequence",
            "worker_arranged_photo_order": order, "worker_id": f"WORLD{story.voice.upper()}{story.story_id[-1]}"}
            for album in albums for story in album.stories
            for order, (photo, words) in enumerate(zip(story.photos, story.sentences))]
        shown: list[dict[str, Any]] = [{
            "album_id": album.album_id, "original_text": natural_text(words, photo.scene),
            "photo_flickr_id": photo.photo_id, "photo_order_in_story": photo.scene.stage, "text": " ".join(words),
            "tier": "descriptions-in-isolation", "worker_id": f"WORLDVIEW{worker}"}
            for album in albums for photo in album.photos for worker, words in enumerate(photo.descriptions)]
        for name, kind, records in (("story-in-sequence", "story-in-sequence", told),
                                    ("description-in-isolation", "descriptions-in-isolation", shown)):
            content = {**shared, "type": kind, "annotations": [[record] for record in records]}
            text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            write_text(folder / f"{split}.{name}.json", text + "\n")


def photo_bytes(picture: Image.Image, kind: str) -> tuple[str, bytes] | None:
    """A photo's file extension and content; None where there is no file.

    Args:
        picture: 360 x 270 RGB.
        kind: one of albums.PHOTO_KINDS, or "ok".
    """
    if kind == "missing":
        return None
    stream, how = io.BytesIO(), dict[str, Any](format="JPEG", quality=JPEG_QUALITY)
    if kind == "unavailable":
        picture = _draw_unavailable()
    elif kind == "rotated":
        picture, how["exif"] = picture.transpose(Image.Transpose.ROTATE_90), Image.Exif()
        how["exif"][ExifTags.Base.Orientation] = TURNED_LEFT
    elif kind == "grey":
        picture = picture.convert("L")
    elif kind == "alpha":  # transparent corners
        mask, how = Image.new("L", picture.size), {"format": "PNG"}
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, WIDTH - 1, HEIGHT - 1), 40, 255)
        picture = picture.copy()
        picture.putalpha(mask)
    picture.save(stream, **how)
    content = stream.getvalue()
    kept = int(len(content) * KEPT_OF_TRUNCATED) if kind == "truncated" else len(content)
    return "png" if kind == "alpha" else "jpg", content[:kept]


def _draw_unavailable() -> Image.Image:
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
