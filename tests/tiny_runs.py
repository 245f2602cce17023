"""Untrained runs of a model so small that evaluating it takes no time."""
from pathlib import Path
from typing import Any

import torch

from data.folder.folder import Features
from train.config import make_config
from train.run_folder.runs import RunRecord, build_model, measure_sizes, read_text, write_record, write_weights

TINY: dict[str, Any] = {"embedding_dim": 6, "text_dim": 4, "fusion_dim": 8, "hidden_dim": 8, "attention_heads": 2,
                        "tag_head_dim": 6, "tag_embedding_dim": 4, "image_decoder_dim": 8, "decoder_dim": 8,
                        "steps": 0, "patience_steps": 0}


def write_run(path: Path, features_path: Path, **settings: Any) -> Path:
    """Write a run folder as training would, with random weights of `seed` and made-up feature statistics."""
    features, config = Features.open(features_path), make_config({**TINY, **settings})
    words = features.words(config.words)
    sizes = measure_sizes(config, features.width, words)
    torch.manual_seed(config.seed)
    model = build_model(config, sizes)
    for parameter in model.parameters():  # what begins at zero would let every photo tie
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    model.set_statistics(torch.full((features.width,), 3.0), torch.full((features.width,), 2.0))
    path.mkdir(parents=True)
    write_record(path, RunRecord(config, sizes, features.recipe, words.identity, features.source, str(features_path),
                                 {}, {}, text=read_text(config, words)))
    write_weights(path / "best.safetensors", model, 1)
    return path
