"""Features compared after standardising: raw ones are nearly parallel and all look alike. N rows of width D."""
import numpy as np

from data.folder.mapped import MappedRows

SAMPLE_ROWS = 4096
BLOCK_ROWS = 4096
DEVIATION_FLOOR = 0.01  # of the mean deviation: a unit that hardly ever fires would otherwise be nothing but noise


def measure_statistics(feature: MappedRows, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (D,) float32 over at most SAMPLE_ROWS of the rows, evenly spread."""
    picked = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE_ROWS)).astype(int)]
    sample = feature.take(picked).astype(np.float32)
    deviation = sample.std(axis=0)
    return sample.mean(axis=0), np.maximum(deviation, DEVIATION_FLOOR * deviation.mean() + 1e-6)


def centred_cosine(first: np.ndarray, second: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Cosines after standardising both: of (n, D) row by row with (n, D) or with one (1, D)."""
    first, second = ((part.astype(np.float32) - mean) / deviation for part in (first, second))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(norms, 1e-12)


def find_neighbours(feature: MappedRows, rows: np.ndarray, query: int, count: int) -> list[tuple[int, float]]:
    """The rows nearest to one of them by centred cosine, best first.

    Args:
        rows: (n,) candidates; the query is passed over.

    Returns:
        At most `count` of (row, cosine); of equal ones the first row leads.
    """
    mean, deviation = measure_statistics(feature, rows)
    asked = feature.take(np.array([query]))
    cosine = np.concatenate([centred_cosine(feature.take(rows[start:start + BLOCK_ROWS]), asked, mean, deviation)
                             for start in range(0, len(rows), BLOCK_ROWS)])
    cosine[rows == query] = -np.inf
    best = np.argsort(-cosine, kind="stable")[:min(count, len(rows) - int((rows == query).any()))]
    return [(int(rows[place]), float(cosine[place])) for place in best]
