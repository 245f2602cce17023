"""What checking a features folder found, and how it is said."""
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError, printable

DAMAGED, DIFFERENT, WARNING, NOTE = LEVELS = "damaged", "differs", "warning", "note"


@dataclass
class Finding:
    """One thing that is not as it should be.

    Attributes:
        level: one of LEVELS, worst first; the folder is not clean with one of the first two.
        where: path inside the folder, or what it is about.
        found: expected and found. remedy: what to do; empty where the whole report says it.
        file: path inside the folder of what must be made again, None where nothing must.
        set_aside: where that file was moved to, empty where it was not.
    """

    level: str
    where: str
    found: str
    remedy: str = ""
    file: str | None = None
    set_aside: str = ""


def format_facts(facts: Mapping[str, str]) -> Iterator[str]:
    """Facts by name as aligned lines that a terminal may be given."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        yield f"  {printable(name):<{width}}  {printable(value)}"


@dataclass
class Report:
    """Findings about one features folder.

    Attributes:
        facts: what was looked at, by name: shown also when all is well.
        lacks: files that are not there because the folder is a part.
    """

    root: Path
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()

    def damage(self, name: str, found: str) -> None:
        """Note that a file of the folder must be made again; not of one that a part lacks on purpose."""
        if name not in self.lacks:
            self.findings.append(Finding(DAMAGED, name, found, file=name))

    def contradict(self, where: str, found: str, remedy: str = "get the folder again, or make it anew") -> None:
        """Note damage that no single file can be blamed for."""
        self.findings.append(Finding(DAMAGED, where, found, remedy))

    def differ(self, where: str, found: str, remedy: str) -> None:
        """Note that the folder does not agree with what was made here."""
        self.findings.append(Finding(DIFFERENT, where, found, remedy))

    def warn(self, where: str, found: str, remedy: str = "") -> None:
        """Note what is no damage but should be known."""
        self.findings.append(Finding(WARNING, where, found, remedy))

    def note(self, where: str, found: str) -> None:
        """Note what is as it may be."""
        self.findings.append(Finding(NOTE, where, found))

    @contextmanager
    def blame(self, name: str) -> Iterator[None]:
        """Turn a refusal inside the block into damage of that file."""
        try:
            yield
        except UserError as error:
            self.damage(name, str(error).rpartition("; ")[0].replace(f"{self.root}{os.sep}", "") or str(error))

    @property
    def damaged(self) -> list[Finding]:
        """The findings that make a folder unclean."""
        return [finding for finding in self.findings if finding.level in (DAMAGED, DIFFERENT)]

    @property
    def damaged_files(self) -> list[str]:
        """Files that must be made again, each once, in the order found."""
        return list(dict.fromkeys(finding.file for finding in self.damaged if finding.file))

    def plain(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {"features": str(self.root), "clean": not self.damaged, "facts": self.facts,
                "findings": [asdict(finding) for finding in self.findings]}

    def lines(self) -> Iterator[str]:
        """Everything for people: facts aligned, then each finding with its remedy below."""
        yield f"features folder {printable(self.root)}"
        yield from format_facts(self.facts)
        for finding in sorted(self.findings, key=lambda finding: LEVELS.index(finding.level)):
            yield ""
            yield f"{finding.level:<8} {printable(finding.where)}"
            yield f"         {printable(finding.found)}"
            if finding.set_aside:
                yield f"         set aside as {printable(finding.set_aside)}"
            if finding.remedy:
                yield f"         -> {printable(finding.remedy)}"
