"""Memory of an extraction per further photo: the slope of its peak between 2,000 and 20,000 photos.

    python -m tests.benchmarks.extraction_memory [--photos 2000 20000]

The backbone is tiny, so that nothing of the model's hides what a photo costs. Each run is a process of its own.
"""
import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.figures import Figure, report
from tests.photo_dataset import photo_id, write_stories

BYTES_WANTED = 450  # of them about 250 for the place of its content
PHOTOS_PER_ALBUM = 5  # one story an album: every photo is named once, as most of VIST's are
FOLDERS = 100

CODE = """
import resource, sys
from extract.command import main
main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def measure_peak(num_photos: int) -> int:
    """Bytes of memory at the peak of one extraction."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder / "data", num_photos)
        done = subprocess.run(
            [sys.executable, "-c", CODE, "--data", str(folder / "data"), "--out", str(folder / "features"), "--weights",
             "random", "--backbone", "tests.tiny_backbone:factory"], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def write_photos(root: Path, num_photos: int) -> None:
    """Small photos of different contents, and stories that name each."""
    albums = num_photos // PHOTOS_PER_ALBUM
    write_stories(root, "train", albums, stories_per_album=1, photos_per_album=PHOTOS_PER_ALBUM)
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(file, "JPEG")
    for folder in range(FOLDERS):
        (root / "images" / str(folder)).mkdir(parents=True)
    for index in range(albums * PHOTOS_PER_ALBUM):
        name = f"{photo_id('train', *divmod(index, PHOTOS_PER_ALBUM))}.jpg"
        (root / "images" / str(index % FOLDERS) / name).write_bytes(file.getvalue() + str(index).encode())


def main(argv: list[str] | None = None) -> list[Figure]:
    """Measure and print bytes a photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs=2, default=(2000, 20000))
    few, many = parser.parse_args(argv).photos
    peaks = {count: min(measure_peak(count) for _ in range(2)) for count in (few, many)}
    return report([Figure(name=f"extraction, memory a further photo ({peaks[few] / 1e6:.1f} MB at {few:,}, "
                               f"{peaks[many] / 1e6:.1f} MB at {many:,})",
                          value=(peaks[many] - peaks[few]) / (many - few), unit="bytes", at_most=BYTES_WANTED)])


if __name__ == "__main__":
    main()
