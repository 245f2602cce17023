"""Captions of your own through the text encoder that a run's text features came from; another one is refused."""
import numpy as np
import torch

from data.errors import UserError
from data.folder.identity import require_same
from evaluate.config import StoryConfig
from extract.backbones.text_encoder import OWN, encode_captions, open_text_encoder
from train.run_folder.runs import LoadedRun


def read_captions(config: StoryConfig, run: LoadedRun, frames: int, device: str) -> torch.Tensor:
    """The vectors of a story's captions, as the run reads them.

    Returns:
        (1, frames, E) float16; zeros where a caption was not given or is blank.

    Raises:
        UserError: if captions are given, and the encoder is not named, cannot be built, or is another one.
    """
    fields = run.text["fields"]
    vectors = np.zeros((1, frames, fields["width"]), np.float16)
    given = {place: caption for place, caption in enumerate(config.captions) if caption.strip()}
    if given and config.text_encoder is None:
        raise UserError(f"expected --text-encoder for run {config.run}, which reads captions through "
                        f"{fields['encoder']!r}, found none; a run does not choose what runs here: look at that, then "
                        f"add --text-encoder {fields['encoder']}, or leave --caption out")
    if given and config.text_encoder is not None:
        weights = config.weights if config.weights and config.text_encoder == config.backbone else OWN
        encoder = open_text_encoder(config.text_encoder, torch.device(device), weights)
        require_same("text features", run.text, encoder.identity, f"run {config.run}",
                     "the text encoder of this command", "name the one that they came from with --text-encoder")
        found = encode_captions(encoder, given.values(), quiet=True)
        vectors[0, list(given)] = [found[caption] for caption in given.values()]
    return torch.from_numpy(vectors)
