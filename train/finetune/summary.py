"""What a finished fine-tuning says of itself on the terminal."""
from data.errors import shell_word
from data.folder.folder import Features
from train.finetune.backbone import extraction_flags
from train.finetune.config import Command
from train.run_folder.runs import BACKBONE
from train.summary import print_summary as print_training


def print_summary(command: Command) -> None:
    """Print what lies where and how the loop closes: features through the new backbone, and training on them.

    The fine-tuned model predicts features of the frozen backbone; on a folder of the new one, numbers about photos
    mean something once a run was trained there.
    """
    run, features = command.run_path, command.features_path
    print_training(run, features, next_step="")
    made = f"{features}-finetuned"
    print(f"backbone {run / BACKBONE}")
    print(f"next:   make features DATA={shell_word(command.photos_path)} FEATURES={shell_word(made)} "
          f"WEIGHTS={shell_word(run / BACKBONE)} ARGS='{extraction_flags(Features.open(features).recipe)}'")
    print(f"        make train FEATURES={shell_word(made)} RUN={shell_word(f'{run}-trained')} "
          f"ARGS={shell_word(f'--init {shell_word(run)}')}")
