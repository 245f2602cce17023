"""Change one thing in the code and see whether a test notices: python -m tests.mutation [--number 200] [--seed 0]

Cosmic Ray makes the changes, in a copy of the tracked files. A survivor is a line that no test holds, or one whose
change means nothing; who reads them decides which.
"""
import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = ("core/NumberReplacer", "core/RemoveDecorator", "core/ReplaceBinaryOperator_BitOr")  # `|` of types above all
TIMEOUT = 240.0  # seconds: a change may loop for ever
TESTS = {  # what each module's tests are; those that end within seconds
    "data/annotations/annotation_file.py": ["test_annotations"], "data/annotations/stories.py": ["test_stories"],
    "data/files.py": ["test_places", "test_lock"], "data/folder/identity.py": ["test_recipe"],
    "data/folder/manifest.py": ["test_hostile_folder", "test_folder"], "data/folds/fold_groups.py": ["test_folds"],
    "data/pictures/augmentation.py": ["test_augmentation"], "data/pictures/pictures.py": ["test_photos"],
    "data/words/tags.py": ["test_tags"], "data/words/tag_table.py": ["test_tag_table"],
    "data/words/tokens.py": ["test_words"], "train/augment.py": ["test_yardsticks", "test_criterion"],
    "train/batches.py": ["test_batches"], "train/criterion.py": ["test_criterion"], "train/order.py": ["test_order"],
    "train/prepare.py": ["test_yardsticks", "test_train_command"], "train/settings.py": ["test_settings"],
    "train/config.py": ["test_settings"]}


def main() -> None:
    """Draw the changes, try each, list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        subprocess.run(["git", "checkout-index", "--all", f"--prefix={folder}/"], cwd=ROOT, check=True)
        draw = random.Random(arguments.seed)
        places: dict[tuple[str, tuple[int, int]], list[MutationSpec]] = {}
        for change in (change for module in sorted(TESTS) for change in list_changes(copy, module)):
            places.setdefault((str(change.module_path), change.start_pos), []).append(change)
        changes = [draw.choice(places[place]) for place in sorted(places)]  # one a place, whatever may be done there
        chosen = draw.sample(changes, min(arguments.number, len(changes)))
        try_changes(copy, sorted(chosen, key=lambda change: (str(change.module_path), change.start_pos)))


def list_changes(copy: Path, module: str) -> list[MutationSpec]:
    """Every change that Cosmic Ray knows for a module."""
    found = []
    tree = get_ast_from_path(copy / module)
    for name in operator_names():
        operator = get_operator(name)
        if name.startswith(SKIPPED) or operator.arguments():
            continue
        places = [place for node in ast_nodes(tree) for place in operator().mutation_positions(node)]
        found += [MutationSpec(module_path=str(copy / module), operator_name=name, operator_args={}, occurrence=number,
                               start_pos=start, end_pos=end) for number, (start, end) in enumerate(places)]
    return found


def try_changes(copy: Path, chosen: list[MutationSpec]) -> None:
    """Run each change's tests and print what survives."""
    survived = 0
    for number, change in enumerate(chosen, start=1):
        module = Path(change.module_path).relative_to(copy).as_posix()
        tests = " ".join(f"{copy}/tests/{name}.py" for name in TESTS[module])
        result = mutate_and_test([change], f"{sys.executable} -m pytest -x -q -p no:cacheprovider --rootdir {copy} -c "
                                           f"{copy}/setup.cfg {tests}", TIMEOUT)
        lives = result.test_outcome is TestOutcome.SURVIVED
        survived += lives
        print(f"{number}/{len(chosen)} {module}:{change.start_pos[0]} {change.operator_name} "
              f"{'SURVIVED' if lives else 'noticed'}", flush=True)
        if lives:
            print(result.diff.replace(str(copy), "."), flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} changes noticed, {survived} survived")


if __name__ == "__main__":
    main()
