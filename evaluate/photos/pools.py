"""Which photos a story's next photo is sought among.

A candidate is a distinct content: byte-equal photos are one. A story's own inputs never compete. Three kinds of pool:
all story photos of the split, those of the story's album, and the target among seeded distractors of the split.
"""
from dataclasses import dataclass

import numpy as np

from evaluate.split import Candidates

MIN_ALBUM_POOL = 3
DISTRACTORS = {"1_of_5": 4, "1_of_100": 99}


@dataclass(frozen=True)
class PoolPairs:
    """A pool for each of some queries, as pairs; the target itself is not among them.

    Attributes:
        query: (P,) int64. candidate: (P,) int64. size: (Q,) int64, members with the target, 0 = no pool.
    """

    query: np.ndarray
    candidate: np.ndarray
    size: np.ndarray


def album_pools(album_ids: list[str], candidate: np.ndarray, t: int) -> PoolPairs:
    """For every story the other photos of its album.

    Args:
        album_ids: (S,). candidate: (S, K), -1 where a photo is unusable.
        t: frames 1..t are the inputs, frame t + 1 the target.

    Returns:
        Pools of at least MIN_ALBUM_POOL members with the target; smaller ones are left out.
    """
    members: dict[str, set[int]] = {}
    for album_id, row in zip(album_ids, candidate):
        members.setdefault(album_id, set()).update(row[row >= 0].tolist())
    pools = []
    for album_id, row in zip(album_ids, candidate):
        target, inputs = int(row[t]), set(row[:t].tolist())
        found = members[album_id] - inputs - {target}
        whole = target >= 0 and target not in inputs and len(found) + 1 >= MIN_ALBUM_POOL
        pools.append(sorted(found) if whole else [])
    return _join(pools)


def draw_pools(num_candidates: int, candidate: np.ndarray, t: int, num_distractors: int, seed: int) -> PoolPairs:
    """For every story distinct distractors of the split, drawn at random; none is its target or an input.

    Stories that share their photos get the same distractors.

    Returns:
        Pools for every story with a target; empty ones where the split has too few photos.
    """
    random = np.random.default_rng([seed, t, num_distractors])
    drawn: dict[bytes, list[int]] = {}
    pools: list[list[int]] = []
    for row in candidate:
        target, inputs = int(row[t]), set(row[:t].tolist())
        barred = {index for index in (*inputs, target) if index >= 0}
        if target < 0 or target in inputs or num_candidates - len(barred) < num_distractors:
            pools.append([])
            continue
        key = row.tobytes()
        if key not in drawn:
            drawn[key] = _draw(random, num_candidates, barred, num_distractors)
        pools.append(drawn[key])
    return _join(pools)


def draw_candidates(candidates: Candidates, candidate: np.ndarray, t: int, seed: int) -> np.ndarray:
    """For every story a photo row drawn from all that may be its next one, the true one among them: what chance shows.

    Args:
        candidate: (S, K), -1 where a photo is unusable.

    Returns:
        (S,) int64, -1 where there is no candidate but its inputs.
    """
    random = np.random.default_rng([seed, t])
    drawn = np.full(len(candidate), -1)
    for story, row in enumerate(candidate):
        barred = {index for index in row[:t].tolist() if index >= 0}
        if len(barred) < len(candidates):
            drawn[story] = candidates.rows[_draw(random, len(candidates), barred, 1)[0]]
    return drawn


def _draw(random: np.random.Generator, num_candidates: int, barred: set[int], count: int) -> list[int]:
    wanted = count + len(barred)
    found = random.choice(num_candidates, wanted, replace=False)
    return [int(index) for index in found if int(index) not in barred][:count]


def _join(pools: list[list[int]]) -> PoolPairs:
    lengths = np.array([len(pool) for pool in pools], np.int64)
    return PoolPairs(query=np.repeat(np.arange(len(pools)), lengths),
                     candidate=np.array([index for pool in pools for index in pool], np.int64),
                     size=np.where(lengths > 0, lengths + 1, 0))
