"""A world as VIST's annotation files: every record has the keys that the official files have."""
import json
from pathlib import Path
from typing import Any

from data.files import write_text
from data.storyworld.albums import Album, World, WorldStory
from data.storyworld.sentences import natural_text
from data.storyworld.world import HEROES, NUM_STAGES

HOURS = (8, 10, 12, 15, 18)         # when the photos of the five stages are taken
LICENSE = "7"                       # Flickr's number for "no known copyright restrictions"


def write_annotations(world: World, folder: Path) -> list[Path]:
    """Write `{split}.story-in-sequence.json` and `{split}.description-in-isolation.json` for the three splits."""
    paths = []
    for split, albums in world.splits.items():
        stories = [_story_records(album, story) for album in albums for story in album.stories]
        descriptions = [record for album in albums for record in _description_records(album)]
        for name, kind, records in (("story-in-sequence", "story-in-sequence", sum(stories, [])),
                                    ("description-in-isolation", "descriptions-in-isolation", descriptions)):
            content = {"info": _file_info(world, split), "type": kind, "images": _images(albums),
                       "albums": [_album_record(album) for album in albums],
                       "annotations": [[record] for record in records]}
            text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            paths.append(write_text(folder / f"{split}.{name}.json", text + "\n"))
    return paths


def _file_info(world: World, split: str) -> dict[str, Any]:
    return {"year": 2016, "version": f"storyworld {world.config.spec()['version']}", "contributor": "storyworld",
            "description": f"A drawn world in VIST's layout, {split} split", "url": "",
            "date_created": "2016-05-04 00:00:00", "storyworld": world.config.spec()}


def _story_records(album: Album, story: WorldStory) -> list[dict[str, Any]]:
    return [{"album_id": album.album_id, "original_text": natural_text(words, photo.scene),
             "photo_flickr_id": photo.photo_id, "setting": story.setting, "story_id": story.story_id,
             "storylet_id": f"{story.story_id}{order}", "text": " ".join(words), "tier": "story-in-sequence",
             "worker_arranged_photo_order": order, "worker_id": f"WORLD{story.voice.upper()}{story.story_id[-1]}"}
            for order, (photo, words) in enumerate(zip(story.photos, story.sentences))]


def _description_records(album: Album) -> list[dict[str, Any]]:
    return [{"album_id": album.album_id, "original_text": natural_text(words, photo.scene),
             "photo_flickr_id": photo.photo_id, "photo_order_in_story": photo.scene.stage, "text": " ".join(words),
             "tier": "descriptions-in-isolation", "worker_id": f"WORLDVIEW{worker}"}
            for photo in album.photos for worker, words in enumerate(photo.descriptions)]


def _images(albums: list[Album]) -> list[dict[str, str]]:
    return [{"album_id": album.album_id, "datetaken": _date(album, photo.scene.stage), "id": photo.photo_id,
             "latitude": "0", "license": LICENSE, "longitude": "0", "media": "photo", "secret": "storyworld",
             "tags": "", "text": "", "title": "", "url_o": f"storyworld:{photo.photo_id}"}
            for album in albums for photo in album.photos]


def _date(album: Album, stage: int) -> str:
    return f"2016-{1 + album.index // 28 % 12:02d}-{1 + album.index % 28:02d} {HOURS[stage]:02d}:00:00"


def _album_record(album: Album) -> dict[str, str]:
    scene = album.photos[0].scene
    taken = [_date(album, stage) for stage in (0, NUM_STAGES - 1)]
    return {"date_create": taken[0], "date_update": taken[1], "description": f"A {scene.weather} day", "farm": "1",
            "id": album.album_id, "owner": "storyworld", "photos": str(len(album.photos)),
            "primary": album.photos[0].photo_id, "secret": "storyworld", "server": "1",
            "title": f"{HEROES[scene.hero].name}'s day", "vist_label": "day_out"}
