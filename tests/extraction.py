"""What tests of extraction share: one tag matcher for a file, the bytes of a folder."""
import functools

import pytest

from data.words.tags import TagTable


@pytest.fixture(scope="module", autouse=True)
def one_matcher():
    """Build the shipped tag table's matcher once, not in every run: it is half of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TagTable, "load", functools.cache(TagTable.load))
        yield


def snapshot(folder):
    """Bytes of every published file."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and ".local" not in path.parts}
