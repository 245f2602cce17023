"""What a finished fine-tuning says of itself on the terminal."""
from data.folder import Features
from train.finetune.backbone import extraction_flags
from train.finetune.config import Command
from train.runs import BACKBONE
from train.summary import print_summary as print_training


def print_summary(command: Command) -> None:
    """Print what lies where and how the loop closes: features through the new backbone, and training on them.

    The fine-tuned model predicts features of the frozen backbone; on a folder of the new one, numbers about photos
    mean something once a run was trained there.
    """
    run, features = command.run_path, command.features_path
    print_training(run, features, next_step="")
    print(f"backbone {run / BACKBONE}")
    print(f"next:   make features DATA={command.photos_path} FEATURES={features}-finetuned WEIGHTS={run / BACKBONE} "
          f"ARGS='{extraction_flags(Features.open(features).recipe)}'")
    print(f"        make train FEATURES={features}-finetuned RUN={run}-trained ARGS='--init {run}'")
