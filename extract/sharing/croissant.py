"""croissant.json: the files of a features folder as data catalogues read them (MLCommons Croissant 1.0, JSON-LD)."""
from collections.abc import Iterable
from typing import Any

from data.files import format_json
from data.folder.manifest import Manifest

CROISSANT = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
TYPES = {".h5": "application/x-hdf5", ".json": "application/json", ".csv": "text/csv", ".md": "text/markdown"}
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "equivalentProperty": "cr:equivalentProperty", "samplingRate": "cr:samplingRate",
    "dct": "http://purl.org/dc/terms/", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform"}


def describe_dataset(manifest: Manifest, files: Iterable[tuple[str, str, int]]) -> str:
    """The text of croissant.json; it says nothing that the clock, the machine or the place decides.

    Args:
        files: name inside the folder, sha256 and size of each.
    """
    fields = manifest.recipe["fields"]
    return format_json({
        "@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": CONFORMS_TO,
        "name": f"visual-storytelling-features-{manifest.source['id']:.12}",
        "description": f"Features of {sum(shard.rows for shard in manifest.shards['photos'])} photos by "
                       f"{fields.get('backbone')} ({manifest.width} numbers each, recipe {manifest.recipe['id']:.12}), "
                       f"captions as token ids and tags (word sets {', '.join(sorted(manifest.words))}). The terms of "
                       "the photos and captions that they were made from hold for them too.",
        "license": str(manifest.versions.get("licence", "unknown")), "version": "1.0.0",
        "distribution": [_describe_file(*file) for file in files]})


def _describe_file(name: str, sha256: str, size: int) -> dict[str, Any]:
    return {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, "contentSize": f"{size} B",
            "encodingFormat": TYPES.get(name[name.rfind("."):], "application/octet-stream"), "sha256": sha256}
