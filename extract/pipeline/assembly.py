"""A photo shard while its rows come together."""
from dataclasses import dataclass, field

import numpy as np

from data.folder.shards import join_blobs
from data.pictures.photos import OK
from extract.folder.plan import PlannedShard

ZERO_CONTENT = bytes(32)


@dataclass
class Assembly:
    """Rows of one planned shard; n rows, D width.

    Attributes:
        unread: rows that no reader has given yet. in_flight: rows in a batch that was not looked at yet.
        copies: row -> (shard, row) whose feature it takes, once that is known.
        tokens: (n, P, D) float16 or None. views: (n, W, D) float16 or None.
    """

    planned: PlannedShard
    photo_id: np.ndarray
    feature: np.ndarray
    content: np.ndarray
    status: np.ndarray
    stat: np.ndarray
    thumbnails: list[bytes] | None
    tokens: np.ndarray | None
    views: np.ndarray | None
    unread: int = 0
    in_flight: int = 0
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)
    copies: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def begin(cls, planned: PlannedShard, photo_id: np.ndarray, stat: np.ndarray, width: int, with_thumbnails: bool,
              num_tokens: int = 1, num_views: int = 0) -> "Assembly":
        """Rows of zeros, none read."""
        rows = planned.rows
        return cls(planned, photo_id, np.zeros((rows, width), np.float16), np.zeros((rows, 32), np.uint8),
                   np.zeros(rows, np.uint8), stat, [b""] * rows if with_thumbnails else None,
                   np.zeros((rows, num_tokens, width), np.float16) if num_tokens > 1 else None,
                   np.zeros((rows, num_views, width), np.float16) if num_views else None)

    @property
    def is_complete(self) -> bool:
        """Whether every row is there, but for copies."""
        return not self.unread and not self.in_flight

    def keep(self, rows: np.ndarray, photos: dict[str, np.ndarray], thumbs: dict[str, np.ndarray] | None,
             tokens: dict[str, np.ndarray] | None, bad: dict[int, tuple[str, str]],
             views: dict[str, np.ndarray] | None = None) -> None:
        """Take rows over as they were published, for those that need no reading."""
        for name, own in (("feature", self.feature), ("content", self.content), ("status", self.status)):
            own[rows] = photos[name][rows]
        self.bad.update({row: cause for row, cause in bad.items() if row in set(rows.tolist())})
        if self.views is not None and views is not None:
            self.views[rows] = views["feature"][rows]
        for row in rows.tolist():
            self.take_beside(row, thumbs, tokens, row)

    def take_beside(self, row: int, thumbs: dict[str, np.ndarray] | None, tokens: dict[str, np.ndarray] | None,
                    source_row: int) -> None:
        """Copy a row's thumbnail, where it has none yet, and its tokens from published arrays."""
        if self.thumbnails is not None and thumbs is not None and not self.thumbnails[row]:
            start, stop = thumbs["offset"][source_row:source_row + 2]
            self.thumbnails[row] = thumbs["blob"][start:stop].tobytes()
        if self.tokens is not None and tokens is not None:
            self.tokens[row] = tokens["feature"][source_row]

    def set_content(self, row: int, content: bytes) -> None:
        """Note the sha256 of a row's file; zeros where there are no bytes."""
        self.content[row] = np.frombuffer(content or ZERO_CONTENT, np.uint8)

    def set_bad(self, row: int, status: int, cause: str, detail: str) -> None:
        """Make a row one of zeros with a status."""
        assert status != OK, "a bad row needs a status"
        self.status[row] = status
        self.bad[row] = (cause, detail)

    def settle(self) -> None:
        """Leave nothing of bad rows beside their status; a view that is not finite is its photo unchanged."""
        bad = self.status != OK
        self.feature[bad] = 0
        if self.tokens is not None:
            self.tokens[bad] = 0
        if self.views is not None:
            self.views[bad] = 0
            row, view = np.nonzero(~np.isfinite(self.views).all(axis=2))
            self.views[row, view] = self.feature[row]
        if self.thumbnails is not None:
            self.thumbnails = [b"" if is_bad else blob for blob, is_bad in zip(self.thumbnails, bad.tolist())]

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """What to publish: fields by kind."""
        photo_id = np.array(self.photo_id.tolist())  # as wide as the longest of this shard
        kinds: dict[str, dict[str, np.ndarray]] = {"photos": {
            "feature": self.feature, "photo_id": photo_id, "content": self.content, "status": self.status}}
        if self.thumbnails is not None:
            blob, offset = join_blobs(self.thumbnails)
            kinds["thumbs"] = {"blob": blob, "offset": offset}
        if self.tokens is not None:
            kinds["tokens"] = {"feature": self.tokens}
        if self.views is not None:
            kinds["views"] = {"feature": self.views}
        return kinds
