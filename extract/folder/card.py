"""The card: README.md of a features folder, written by the program, with a reader that needs only h5py and numpy."""
from pathlib import Path
from typing import Any

from data.annotations.stories import SPLITS
from data.files import settle_text
from data.folder.manifest import Manifest

READER = '''\
import json, h5py, numpy as np

manifest = json.load(open("manifest.json"))
def read(group, name):
    return np.concatenate([h5py.File(shard["name"])[name][...] for shard in manifest["shards"][group]])
feature, status, photo_id = (read("photos", name) for name in ("feature", "status", "photo_id"))
token, photo = (read("words/{words}/{split}", name) for name in ("token", "photo"))
words = json.load(open("words/{words}/vocabulary.json"))["words"]
for row, ids in zip(photo[0], token[0]):  # the five frames of the first story
    print(photo_id[row].decode(), status[row], feature[row, :3], *(words[i] for i in ids if i > 2))
'''

TEXT = '''\
# Features of {photos} photos for visual storytelling

{how} ({width} numbers a photo, float16). Captions are token ids and tags. With
this folder alone a model can be trained and evaluated; no photo is needed again.

| | |
|---|---|
{made}
| photos | {photos}: {status} |
| bad photos by cause | {causes} |
| placeholders | {placeholders} photos that are one picture under many ids |
| same content | {distinct} distinct contents, {across} in more than one split |
{word_sets}

Rows with a status other than 0 hold zeros. What was left out, and why, is in `skipped.csv`. The photos and captions
belong to their owners: the terms of the dataset they come from hold for what is derived from them.

## Reading it

Run in this folder; needs h5py and numpy.

```python
{reader}```

`photos/*.h5`: `feature` (N, D) float16, `photo_id` (N,) bytes, `content` (N, 32) sha256 of the file, `status` (N,) 0 ok
1 missing 2 unreadable 3 too large. `words/<name>/<split>-*.h5`, five frames a story: `token` (S, 5, T), `tag` (S, 5, G)
multi-hot by `tags.json`, `tag_source` (S, 5) bit 0 caption, bit 1 descriptions, `photo` (S, 5) row over all photo
shards, `story_id`, `album_id`, `caption` with `offset`. `manifest.json` lists every file with its sha256.
'''

MADE = '''\
| backbone | `{backbone}`, weights `{named}` (sha256 of the tensors {weights:.12}...) |
| licence of the weights | {licence} |
| a photo becomes | {size} x {size} pixels by {resize}, {interpolation}, {precision}; recipe `{recipe:.12}` |'''

IMPORTED = '''\
| backbone | said to be `{backbone}`; nobody here looked at a photo |
| licence of the features | {licence} |
| given as | {given_as}, sha256 of ids and values {source:.12}...; recipe `{recipe:.12}` |
| `content` | sha256 of a feature's bytes as given, not of a photo |'''


def write_card(folder: Path, manifest: Manifest) -> Path:
    """Write the folder's README.md."""
    fields, counts = manifest.recipe["fields"], manifest.counts
    name = "default" if "default" in manifest.words else min(manifest.words)
    split = next(split for split in SPLITS if f"words/{name}/{split}" in manifest.shards)
    text = TEXT.format(
        photos=counts["photos"], width=manifest.width,
        how="Features that were made elsewhere" if "imported" in fields else
        f"Each photo went through `{fields['backbone']}` once",
        made=(IMPORTED if "imported" in fields else MADE).format(
            **fields, named=manifest.versions["weights"], licence=manifest.versions["licence"],
            recipe=manifest.recipe["id"]), status=_spell(counts["status"]), causes=_spell(counts["causes"]) or "none",
        placeholders=counts["placeholder_photos"], distinct=counts["distinct_contents"],
        across=counts["contents_in_several_splits"], word_sets=_spell_words(manifest),
        reader=READER.format(words=name, split=split))
    return settle_text(folder / "README.md", text)


def _spell(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def _spell_words(manifest: Manifest) -> str:
    lines = []
    for name, entry in sorted(manifest.words.items()):
        splits: dict[str, Any] = entry.counts["splits"]
        stories = ", ".join(f"{split} {splits[split]['stories']}" for split in SPLITS if split in splits)
        fields = entry.identity["fields"]
        lines.append(f"| words `{name}` | stories: {stories}; {fields['vocabulary_size']} words, rows of "
                     f"{fields['length']} ids, {sum(counts['cut'] for counts in splits.values())} captions cut |")
        if entry.text is not None:
            made = entry.text["fields"]
            lines.append(f"| text features of `{name}` | `feature` (S, 5, {made['width']}) in `text-<split>-*.h5`, by "
                         f"the frozen encoder `{made['encoder']}` (sha256 of its weights {made['weights']:.12}...), "
                         f"licence: {made['licence']} |")
    if manifest.num_tokens > 1:
        lines.append(f"| tokens | {manifest.num_tokens} of every photo in `tokens/*.h5`: `feature` (N, P, D), places "
                     "of the map before pooling, row by row |")
    if views := manifest.counts.get("views"):
        lines.append(f"| augmented views | {views['number']} of every photo in `views/*.h5`: `feature` (N, W, D), "
                     f"drawn per album and view by augmentation {views['augmentation']} |")
    return "\n".join(lines)
