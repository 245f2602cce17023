"""What a finished run says of itself on the terminal."""
from pathlib import Path

from data.errors import shell_word
from train.monitor import format_means
from train.run_folder.runs import BEST, CURVES, METRICS, read_metrics, read_record, read_weights
from train.yardsticks import list_unlearned


def print_summary(run_path: Path, features_path: Path, next_step: str = "eval") -> None:
    """Print the best epoch, what lies where, and what to make next, where that is named."""
    record, metrics = read_record(run_path), read_metrics(run_path)
    weights, told = read_weights(run_path / BEST)
    epoch = int(told.get("epoch", 0))
    best = next((line for line in metrics if line["epoch"] == epoch), None)
    stories = record.stories
    print(f"trained on {stories['train']} stories ({stories['photos']} photos; {stories['dropped']} stories left out "
          f"for a missing photo), validated on {stories['val']}")
    if best is not None:
        losses = best["val"] or best["train"]
        yardsticks = best.get("yardsticks", {})
        print(f"best epoch {epoch} of {len(metrics)}: {'val' if best['val'] else 'train'} "
              f"{format_means(losses, yardsticks)}")
        share = weights.get("photo_carry.decoder_share")
        is_carried = ["next photo: what the decoder adds does not hold on val and is left out: the prediction is what "
                      "carries on from the photos seen"] if share is not None and not share else []
        for sentence in [*is_carried, *list_unlearned(best["val"] or {}, yardsticks)]:
            print(f"note:   {sentence}")
    print(f"weights {run_path / BEST}\nnumbers {run_path / METRICS}\ncurves  {run_path / CURVES}")
    if next_step:
        print(f"next:   make {next_step} RUN={shell_word(run_path)} FEATURES={shell_word(features_path)}")
