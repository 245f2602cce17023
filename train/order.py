"""In which order an epoch goes through the stories: a function of seed and epoch, so that it can be gone on with."""
import numpy as np

LEAST = 0.3  # of the stories, the shortest, begin a curriculum


def shuffle_stories(count: int, seed: int, epoch: int, block: int = 0, window: int = 1) -> np.ndarray:
    """A permutation of `count` stories.

    Args:
        count: stories, numbered in the folder's order. seed, epoch: what it depends on.
        block: 0 shuffles everything; else blocks of that many neighbours are shuffled, and `window` blocks at a time
            into one another, so that one window's photos lie close together on disk.

    Returns:
        (count,) int64.
    """
    random = np.random.default_rng([seed, epoch])
    if not block or count <= block * window:
        return random.permutation(count)
    # blocks begin at another story in every epoch, so that neighbours at a block's edge do not stay apart for good
    starts = np.arange(-int(random.integers(block)), count, block)
    windows = np.array_split(random.permutation(starts), -(-len(starts) // window))
    return np.concatenate([random.permutation(_stories_of(chosen, block, count)) for chosen in windows])


def split_windows(count: int, block: int, window: int) -> int:
    """How many stories a window of a block shuffle holds; all of them without one."""
    return min(count, block * window) if block else count


def share_of_curriculum(epoch: int, epochs: int, share: float) -> float:
    """How large a part of the stories takes part in an epoch, see `draw_curriculum`."""
    ramp = share * epochs
    return 1.0 if epoch > ramp else LEAST + (1 - LEAST) * (epoch - 1) / ramp


def draw_curriculum(lengths: np.ndarray, epoch: int, epochs: int, share: float) -> np.ndarray:
    """The stories that take part in an epoch: from the shortest LEAST of them on, all after `share` of the epochs.

    Args:
        lengths: (n,) words of every story. epoch: from 1. epochs: of the whole run.
        share: over which part of the epochs longer stories come in; 0 for all stories at once.

    Returns:
        Sorted positions, at least one.

    Source: Bengio et al., Curriculum Learning, 2009; length as difficulty as in Platanios et al. 2019.
    """
    part = share_of_curriculum(epoch, epochs, share)
    easiest = np.argsort(lengths, kind="stable")[:max(1, round(part * len(lengths)))]
    return np.sort(easiest)


def share_batch(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """One process's stories of a global batch: every story goes to exactly one."""
    return batch[rank::world]


def _stories_of(starts: np.ndarray, block: int, count: int) -> np.ndarray:
    stories = (starts[:, None] + np.arange(block)).ravel()
    return stories[(stories >= 0) & (stories < count)]
