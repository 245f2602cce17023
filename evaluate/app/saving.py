"""A finished story as a file: one HTML page, or VIST's annotation format, which `data.annotations` reads back."""
import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from data.annotations.annotation_file import NUM_FRAMES, ORDER_KEY
from data.errors import UserError
from evaluate.app.telling import MAX_SENTENCE, OwnPhoto
from evaluate.page.report import ASSETS, content_policy, environment

HERE = Path(__file__).parent
VIST_NAME = "test.story-in-sequence.json"  # the file's name, by which the pipe knows the split


def write_page(photos: Sequence[OwnPhoto], sentences: Sequence[str], run: str) -> str:
    """One HTML file with small pictures inside; nothing in it runs or reaches a network.

    Args:
        sentences: as many as photos, or one more: what comes next. run: who wrote, for the last line.
    """
    style = "".join(path.read_text("utf-8") for path in (ASSETS / "base.css", HERE / "story.css"))
    pictures = [base64.b64encode(photo.picture).decode() for photo in photos]
    frames = [(pictures[place] if place < len(pictures) else "", sentence[:MAX_SENTENCE])
              for place, sentence in enumerate(sentences)]
    return environment(HERE).get_template("story.html").render(style=style, policy=content_policy(style, ""),
                                                               frames=frames, run=run)


def write_vist(photo_ids: Sequence[str], sentences: Sequence[str], run: str) -> str:
    """A story as the content of a `story-in-sequence.json`.

    Raises:
        UserError: if it has not five photos with a sentence each: VIST's stories have.
    """
    told = [" ".join(sentence[:MAX_SENTENCE].split()) for sentence in sentences[:len(photo_ids)]]
    if len(photo_ids) != NUM_FRAMES or len(told) != NUM_FRAMES or not all(told):
        raise UserError(f"expected {NUM_FRAMES} photos with a sentence each, as VIST's stories have, found "
                        f"{len(photo_ids)} photos and {sum(map(bool, told))} sentences; add what lacks")
    album_id = f"own-{hashlib.sha256('/'.join(photo_ids).encode()).hexdigest()[:12]}"
    story_id = f"{album_id}-{hashlib.sha256('/'.join(told).encode()).hexdigest()[:8]}"
    records = [[{"album_id": album_id, "story_id": story_id, "photo_flickr_id": photo_id, ORDER_KEY: order,
                 "original_text": sentence, "tier": "story-in-sequence"}]
               for order, (photo_id, sentence) in enumerate(zip(photo_ids, told))]
    images = [{"id": photo_id, "album_id": album_id} for photo_id in dict.fromkeys(photo_ids)]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    info = {"description": f"A story of someone's own photos, written with run {run}", "date_created": now}
    return json.dumps({"info": info, "type": "story-in-sequence", "images": images, "albums": [],
                       "annotations": records}, ensure_ascii=False, indent=1) + "\n"
