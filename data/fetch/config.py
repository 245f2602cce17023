"""What fetching is told: the one place for its defaults."""
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError


@dataclass(frozen=True)
class FetchConfig:
    """One run of fetching.

    Attributes:
        root: the data folder. photos: "stories" for those that stories name, "albums" for every one of the images.
        per_host, connections: downloads at a time from one host, and from all.
        silence: seconds without a byte after which a download is given up. patience: seconds that one may take in all.
        tries: at one address, where it may help. max_megabytes: a larger file is left alone.
        allow_private: addresses of this machine and its network too. retry: ask again for what was found to be gone.
    """

    root: Path
    photos: str = "stories"
    per_host: int = 4
    connections: int = 32
    silence: float = 20.0
    patience: float = 180.0
    tries: int = 5
    max_megabytes: int = 64
    allow_private: bool = False
    retry: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (("per_host", 1, 64), ("connections", 1, 512), ("silence", 0.1, 3600),
                                ("patience", 0.1, 86400), ("tries", 1, 100), ("max_megabytes", 1, 256)):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"expected --{name.replace('_', '-')} from {low} to {high}, found "
                                f"{getattr(self, name)}; give one in that range")
