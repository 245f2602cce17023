"""Write a storyworld in VIST's layout: OUT/annotations/*.json and OUT/images/<photo id>.<extension>."""
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from data.cores import count_cores
from data.errors import UserError
from data.files import replace_folder
from data.progress import Progress
from data.storyworld.albums import Photo, World, build_world
from data.storyworld.annotations import write_annotations
from data.storyworld.config import WORLD_VERSION, WorldConfig
from data.storyworld.picture import draw_picture
from data.storyworld.stored import photo_bytes

logger = logging.getLogger(__name__)

PHOTOS_PER_TASK = 32
FEWEST_FOR_WORKERS = 400        # starting processes takes longer than drawing fewer photos than this


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
