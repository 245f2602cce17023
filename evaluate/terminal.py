"""Text for a terminal: tables whose columns fit, sentences that wrap. Piped into a file it is the same text."""
import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

WIDTH = 100        # where there is no terminal to ask, and COLUMNS is not set
LEAST_WIDTH = 40
NAME_WIDTH = 22    # of a table's first column, past which names wrap
GAP = 2
TALLEST = 6        # lines of a heading, before columns are as narrow as their longest word

Cells = Sequence[Sequence[str]]


def terminal_width() -> int:
    """Columns of the terminal, COLUMNS where that is set."""
    return max(LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def align(cells: Cells, width: int | None = None, name_width: int = NAME_WIDTH) -> str:
    """Lines of cells as columns; the first line is a heading, the first column names its line.

    Columns past the width go below, in blocks that repeat the names of the lines that have something there. Headings
    wrap, and so do names past `name_width` and cells that no block would hold.

    Args:
        width: characters at most; the terminal's where left out.
    """
    width = width or terminal_width()
    names = min(max(len(line[0]) for line in cells), max(name_width, _longest_word(cells[0][0])), width // 2)
    blocks = _deal_columns(cells, width - names)
    return "\n\n".join(_format_block([line for line in cells if len(blocks) == 1 or any(line[at] for at in block)],
                                     [(0, names), *zip(block, _choose_widths(cells, block, width - names))])
                       for block in blocks)


def wrap(sentences: Sequence[str], width: int | None = None) -> str:
    """Sentences, each on lines of its own; words that are too long (paths) stay whole."""
    return "\n".join(textwrap.fill(sentence, width or terminal_width(), subsequent_indent="  ",
                                   break_long_words=False, break_on_hyphens=False) for sentence in sentences)


def _deal_columns(cells: Cells, room: int) -> list[list[int]]:
    """The columns of each block: no more blocks than needed, and about as many columns in each."""
    columns = list(range(1, len(cells[0])))
    for count in range(1, len(columns)):
        most = -(-len(columns) // count)
        blocks = [columns[start:start + most] for start in range(0, len(columns), most)]
        if all(sum(_choose_widths(cells, block, room)) + GAP * len(block) <= room for block in blocks):
            return blocks
    return [[column] for column in columns] or [[]]


def _choose_widths(cells: Cells, block: Sequence[int], room: int) -> list[int]:
    """Widths of some columns, their headings on as few lines as fit; as narrow as can be where nothing fits."""
    wides: list[int] = []
    for lines in (*range(1, TALLEST), room):
        wides = [_column_width(cells, column, room - GAP, lines) for column in block]
        if sum(wides) + GAP * len(block) <= room:
            break
    return wides


def _column_width(cells: Cells, column: int, most: int, lines: int) -> int:
    """The least width that holds every cell whole and the heading on so many lines; `most` at most."""
    heading, *values = (line[column] for line in cells)
    least = max([1, _longest_word(heading), *map(len, values)])
    return next((wide for wide in range(least, most) if len(textwrap.wrap(heading, wide)) <= lines), most)


def _longest_word(text: str) -> int:
    return max(map(len, text.replace("-", "- ").split()), default=1)  # a hyphen is a place to break


def _format_block(cells: Cells, block: Sequence[tuple[int, int]]) -> str:
    """Some columns of some lines, as (column, width)."""
    lines: list[str] = []
    for place, line in enumerate(cells):
        parts = [textwrap.wrap(line[column], wide, subsequent_indent="  " * (place > 0 and column == 0)) or [""]
                 for column, wide in block]
        lines += [(" " * GAP).join(part.ljust(wide) for part, (_, wide) in zip(row, block)).rstrip()
                  for row in zip_longest(*parts, fillvalue="")]
        if not place:
            lines.append((" " * GAP).join("-" * wide for _, wide in block))
    return "\n".join(lines)
