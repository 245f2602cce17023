"""Packing, pushing, pulling, exporting and importing a features folder against `cp` and curl, all of it on the disk
before the clock stops.

    python -m tests.benchmarks.sharing [--stories 10000] [--repeats 3]

cp and curl only copy; ours also hash every byte. The web server is Python's own, in a process of its own, here.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from data.files import sha256_file
from data.folder.folder import Features
from data.folder.manifest import load_manifest
from extract.config import ExtractConfig
from extract.exchange.exporting import export_features
from extract.exchange.importing import import_features
from extract.exchange.sources import Source
from extract.sharing.contents import Choice
from extract.sharing.pack import pack_folder
from extract.sharing.pull import pull_folder
from extract.sharing.push import push_folder
from tests.annotation_files import make_record, write_stories
from tests.benchmarks.features_folder import write_large_folder
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.timing import divide, measure_in_turn

WANTED = 0.8  # of the plain copy's rate


def write_folder(root: Path, num_stories: int) -> Path:
    """A large folder whose manifest has the right sha256 of every shard."""
    manifest = load_manifest(write_large_folder(root, num_stories))
    shards = {group: tuple(replace(shard, sha256=sha256_file(root / shard.name)) for shard in parts)
              for group, parts in manifest.shards.items()}
    replace(manifest, shards=shards).save(root)
    return root


def write_stories_of(features: Features, root: Path) -> Path:
    """Annotations that name every photo of a folder, for an import of its features."""
    names = [name.decode() for name in features.photo_id.all()]
    records = [make_record(f"s{start}", order, names[min(start + order, len(names) - 1)], f"a{start // 50}")
               for start in range(0, len(names), 5) for order in range(5)]
    write_stories(root, "train", records)
    return root


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """The folder on a web server; gives its address."""
    with subprocess.Popen([sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory",
                           str(root), "--protocol", "HTTP/1.1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield f"http://127.0.0.1:{line.split('port ')[1].split()[0]}"
        finally:
            process.terminate()


def copy(source: Path, target: Path) -> None:
    """cp, onto the disk."""
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    _sync(target)


def curl(url: str, source: Path, target: Path) -> None:
    """curl of every file over one connection, onto the disk."""
    names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
    words = [word for name in names for word in ("-o", str(target / name), f"{url}/{name}")]
    subprocess.run(["curl", "-s", "-f", "--create-dirs", *words], check=True)
    _sync(target)


def _sync(target: Path) -> None:
    for path in target.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        root = write_folder(Path(place) / "features", arguments.stories)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        with serve(root) as url:
            time.sleep(0.5)
            everything = Choice()
            theirs = write_stories_of(Features.open(root), Path(place) / "theirs")
            export_features(root, Path(place) / "matrix", "npy")
            importing = ExtractConfig(dataset=theirs, out=Path(place) / "target", backbone="theirs")
            versions: dict[str, Callable[[Path], object]] = {
                "cp": lambda target: copy(root, target), "curl": lambda target: curl(url, root, target),
                "pack": lambda target: pack_folder(root, target / "f.tar", everything),
                "push to a folder": lambda target: push_folder(root, str(target), everything),
                "pull from a folder": lambda target: pull_folder(str(root), target, everything),
                "pull over http": lambda target: pull_folder(url, target, everything),
                "export to npy": lambda target: (export_features(root, target, "npy"), _sync(target)),
                "import of npy": lambda target: import_features(importing, Source(Path(place) / "matrix"), "theirs")}

            def fresh(run: Callable[[Path], object]) -> Callable[[int], None]:
                def call(_: int) -> None:
                    run(Path(place) / "target")
                    shutil.rmtree(Path(place) / "target")
                return call
            times = measure_in_turn({name: fresh(run) for name, run in versions.items()}, arguments.repeats)
    figures = []
    for name in list(versions)[2:]:
        peer = "curl" if "http" in name else "cp"
        figures.append(Figure(name=name, value=size / 1e6 / times[name].wall, unit="MB/s",
                              ratio=divide(times[peer], times[name]),
                              peer=f"{peer} and fsync, {size / 1e6 / times[peer].wall:.0f} MB/s",
                              at_least=None if "port" in name else WANTED))
    return report(figures)


if __name__ == "__main__":
    main()
