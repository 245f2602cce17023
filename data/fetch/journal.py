"""What came of every photo, kept beside the photos: `.fetch/journal.jsonl`, a line each time, the last one counts."""
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from data.errors import shell_word
from data.files import write_text

FOLDER = ".fetch"
REPORT = "fetch-report.csv"
GONE, FAILED, SAVED = "gone", "failed", "saved"


@dataclass(frozen=True)
class Line:
    """A photo's fate: SAVED, GONE for good, or FAILED for now. `place` counts its addresses, from 0."""

    id: str
    result: str
    cause: str = ""
    place: int = 0
    file: str = ""
    sha256: str = ""
    size: int = 0


class Journal:
    """The lines of this run and of those before, by photo id."""

    def __init__(self, root: Path) -> None:
        self._path = root / FOLDER / "journal.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.lines: dict[str, Line] = {}
        if self._path.exists():
            for text in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    line = Line(**json.loads(text))
                except (ValueError, TypeError):  # cut short by a kill
                    continue
                self.lines[line.id] = line
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
        self._file.write("\n")  # after a line that was cut short

    def note(self, line: Line) -> None:
        """Add a line; it is in the file before anything else happens."""
        self.lines[line.id] = line
        self._file.write(json.dumps(asdict(line)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_report(root: Path, lines: Iterable[Line], albums: dict[str, str]) -> Path:
    """Write fetch-report.csv: every wanted photo that is not there, and why."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("photo_id", "album_id", "result", "cause"))
    writer.writerows((line.id, albums.get(line.id, ""), line.result, line.cause) for line in lines)
    return write_text(root / REPORT, text.getvalue())


def summarise(root: Path, wanted: int, present: int, saved: list[Line], absent: list[Line]) -> str:
    """What a run did and what is not there, for people."""
    megabytes = sum(line.size for line in saved) / 1e6
    lines = [f"{root}: {wanted:,} photos wanted, {present:,} were there, {len(saved):,} fetched ({megabytes:,.1f} MB), "
             f"{len(absent):,} are not to be had"]
    for (result, cause), count in Counter((line.result, line.cause) for line in absent).most_common(12):
        lines.append(f"  {count:8,}  {'for now' if result == FAILED else 'for good'}: {cause}")
    if absent:
        lines.append(f"each of them: {root / REPORT}")
    return "\n".join([*lines, f"next: make features DATA={shell_word(root)}"])
