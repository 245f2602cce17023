"""Weights that a library names: where their file is or is to be put, which terms it has, how it is fetched."""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from data.errors import UserError
from data.lock import hold_when_free
from extract.extras import require_extra

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Pretrained:
    """What a library says of one of its pretrained nets, before anything is built or fetched.

    Attributes:
        name: as given with --backbone. tag: which weights of the architecture.
        repository, revision: on the Hugging Face hub; empty where there is none. files: names the weights may have in
            it, best first. url: of a file elsewhere, or empty. licence: as the library says.
    """

    name: str
    tag: str
    repository: str
    revision: str
    files: tuple[str, ...]
    url: str
    licence: str

    @property
    def place(self) -> Path:
        """Where a file fetched by hand is found."""
        return self._checkpoints / (re.sub(r"[^A-Za-z0-9_.-]", "-", self.name) + SUFFIXES[0])

    @property
    def origin(self) -> dict[str, str]:
        """What the recipe says of it."""
        return {"tag": self.tag, "source": self.repository or self.url, "revision": self.revision,
                "licence": self.licence}

    @property
    def _checkpoints(self) -> Path:
        return Path(torch.hub.get_dir()) / "checkpoints"

    def find(self) -> Path | None:
        """The file where it is on this machine: put there by hand, in torch's cache, or in the hub's."""
        return next((path for path in self._places() if path.is_file()), None)

    def fetch(self) -> Path:
        """The file, downloaded where it is not here yet.

        Raises:
            UserError: if it can be neither found nor downloaded: which file to put where, and the other choices.
        """
        path = self.find()
        if path is not None:
            return path
        try:
            with hold_when_free(self.place.with_name(f".{self.place.name}.lock"), f"the download of {self.name}"):
                return self.find() or self._download()
        except Exception as error:  # of the network, the hub's client or the disk, in as many kinds as there are layers
            where = " or ".join([*(f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{file}"
                                   for file in self.files[:1] if self.repository), *([self.url] if self.url else [])])
            raise UserError(f"expected the weights of {self.name} at {self.place}, found no such file and could not "
                            f"download {where} ({type(error).__name__}: {str(error).strip()[:160]}); put that file "
                            "there, or choose --weights random (seeded) or --weights PATH") from None

    def describe_absence(self) -> str:
        """A sentence where the weights are not here yet, else nothing; for plans."""
        return "" if self.find() else (
            f"not here yet: the extraction would download {self.repository or self.url} unless its weights lie at "
            f"{self.place}; timed with random ones, which are as fast")

    def describe_licence(self, path: Path) -> str:
        """Licence, tag and revision for the card."""
        commit = path.parent.name if path.parent.parent.name == "snapshots" else ""
        return (f"{self.licence}, as named for the tag {self.tag} of {self.repository or self.url}"
                + (f", revision {self.revision}" if self.revision else "") + (f", commit {commit}" if commit else ""))

    def _places(self) -> Iterator[Path]:
        for suffix in SUFFIXES:
            yield self.place.with_name(self.place.name.removesuffix(SUFFIXES[0]) + suffix)
        if self.url:
            yield self._checkpoints / self.url.rsplit("/", 1)[1]
        if self.repository:
            hub = require_extra("huggingface_hub", "backbones", self.name)
            for file in self.files:
                cached = hub.try_to_load_from_cache(self.repository, file, revision=self.revision)
                if isinstance(cached, str):
                    yield Path(cached)

    def _download(self) -> Path:
        if not self.repository:
            digest = re.search(r"-([0-9a-f]{8,})\.", self.url)
            path = self._checkpoints / self.url.rsplit("/", 1)[1]
            torch.hub.download_url_to_file(self.url, str(path), digest[1] if digest else None, progress=False)
            return path
        hub = require_extra("huggingface_hub", "backbones", self.name)
        for file in self.files[:-1]:
            try:
                return Path(hub.hf_hub_download(self.repository, file, revision=self.revision))
            except hub.errors.EntryNotFoundError as error:  # this repository has it under the next name
                if isinstance(error, hub.errors.LocalEntryNotFoundError):  # no: nobody could be asked
                    raise
        return Path(hub.hf_hub_download(self.repository, self.files[-1], revision=self.revision))
