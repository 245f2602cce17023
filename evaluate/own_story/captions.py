"""Captions of your own through the text encoder that a run's text features came from; another one is refused."""
from collections.abc import Sequence

import numpy as np
import torch

from data.errors import UserError
from data.folder.identity import require_same
from extract.backbones.text_encoder import OWN, TextEncoder, encode_captions, open_text_encoder
from train.run_folder.runs import LoadedRun


def open_own_encoder(run: LoadedRun, name: str | None, device: str, weights: str = OWN) -> TextEncoder:
    """The text encoder of a run that reads text features.

    Args:
        name: must be given: a run does not choose what runs here. weights: as `open_text_encoder` takes them.

    Raises:
        UserError: if it is not named, cannot be built, or is another one: naming each field.
    """
    own = run.text["fields"].get("encoder")
    if name is None:
        raise UserError(f"expected --text-encoder for run {run.path}, which reads captions through {own!r}, found "
                        f"none; a run does not choose what runs here: look at that, then add --text-encoder {own}, or "
                        "leave --caption out")
    encoder = open_text_encoder(name, torch.device(device), weights)
    require_same("text features", run.text, encoder.identity, f"run {run.path}", "the text encoder of this command",
                 "name the one that they came from with --text-encoder")
    return encoder


def read_captions(run: LoadedRun, captions: Sequence[str], frames: int, encoder: TextEncoder | None) -> torch.Tensor:
    """The vectors of a story's captions, as the run reads them.

    Args:
        captions: of the first frames, blank where there is none. frames: of the story. encoder: None without captions.

    Returns:
        (1, frames, E) float16; zeros where there is no caption.
    """
    vectors = np.zeros((1, frames, run.text["fields"]["width"]), np.float16)
    given = {place: caption for place, caption in enumerate(captions) if caption.strip()}
    if given and encoder is not None:
        found = encode_captions(encoder, given.values(), quiet=True)
        vectors[0, list(given)] = [found[caption] for caption in given.values()]
    return torch.from_numpy(vectors)
