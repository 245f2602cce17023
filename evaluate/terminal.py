"""Text for a terminal: tables whose columns fit, sentences that wrap. Piped into a file it is the same text."""
import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

WIDTH = 100        # where there is no terminal to ask, and COLUMNS is not set
LEAST_WIDTH = 40
NAME_WIDTH = 22    # of a table's first column, past which names wrap
GAP = 2


def terminal_width() -> int:
    """Columns of the terminal, COLUMNS where that is set."""
    return max(LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def align(cells: Sequence[Sequence[str]], width: int | None = None, name_width: int = NAME_WIDTH) -> str:
    """Lines of cells as columns; the first line is a heading, the first column names its line.

    Columns past the width go below, in blocks that repeat the names. Headings wrap, and so do names past `name_width`
    and cells that no block would hold.

    Args:
        width: characters at most; the terminal's where left out.
    """
    width = width or terminal_width()
    names = min(max(len(line[0]) for line in cells), max(name_width, _longest_word(cells[0][0])), width // 2)
    columns = [(column, _column_width(cells, column, width - names - GAP)) for column in range(1, len(cells[0]))]
    blocks: list[list[tuple[int, int]]] = [[(0, names)]]
    for column, wide in columns:
        if sum(each + GAP for _, each in blocks[-1]) + wide > width and len(blocks[-1]) > 1:
            blocks.append([(0, names)])
        blocks[-1].append((column, wide))
    return "\n\n".join(_format_block(cells, block) for block in blocks)


def wrap(sentences: Sequence[str], width: int | None = None) -> str:
    """Sentences, each on lines of its own; words that are too long (paths) stay whole."""
    return "\n".join(textwrap.fill(sentence, width or terminal_width(), subsequent_indent="  ",
                                   break_long_words=False, break_on_hyphens=False) for sentence in sentences)


def _column_width(cells: Sequence[Sequence[str]], column: int, most: int) -> int:
    heading, *lines = (line[column] for line in cells)
    return min(most, max([1, _longest_word(heading), *map(len, lines)]))


def _longest_word(text: str) -> int:
    return max(map(len, text.replace("-", "- ").split()), default=1)  # a hyphen is a place to break


def _format_block(cells: Sequence[Sequence[str]], block: Sequence[tuple[int, int]]) -> str:
    lines: list[str] = []
    for place, line in enumerate(cells):
        parts = [textwrap.wrap(line[column], wide, subsequent_indent="  " * (place > 0 and column == 0)) or [""]
                 for column, wide in block]
        lines += [(" " * GAP).join(part.ljust(wide) for part, (_, wide) in zip(row, block)).rstrip()
                  for row in zip_longest(*parts, fillvalue="")]
        if not place:
            lines.append((" " * GAP).join("-" * wide for _, wide in block))
    return "\n".join(lines)
