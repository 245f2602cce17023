"""What fetching is told: the one place for its defaults."""
from dataclasses import dataclass
from pathlib import Path

from data.settings import Checked, setting


@dataclass(frozen=True)
class FetchConfig(Checked):
    """One run of fetching, into the data folder `root`."""

    root: Path
    photos: str = setting("stories", "those that stories name, or all of the annotations' images",
                          choices=("stories", "albums"))
    per_host: int = setting(4, "downloads at a time from one host", metavar="N", least=1, most=64)
    connections: int = setting(32, "downloads at a time in all", metavar="N", least=1, most=512)
    silence: float = setting(20.0, "seconds without a byte until a download is given up", metavar="SECONDS", least=0.1,
                             most=3600)
    patience: float = setting(180.0, "seconds for one download", metavar="SECONDS", least=0.1, most=86400)
    tries: int = setting(5, "at one address, where it may help", metavar="N", least=1, most=100)
    max_megabytes: int = setting(64, "of one photo", metavar="N", least=1, most=256)
    allow_private: bool = setting(False, "ask this machine and its network too")
    retry: bool = setting(False, "ask again for what was found to be gone")
