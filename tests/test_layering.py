"""The architecture as a test: imports run one way, and the cheap paths stay cheap."""
import ast
import graphlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {"data": set(), "extract": {"data"}, "train": {"data"}, "evaluate": {"data", "extract", "train"}}
# The rooms inside a package, floor by floor: each may import from its own files and from floors below.
FLOORS = {
    "data": ("cores errors", "files lock pictures progress settings", "annotations storyworld", "fetch folder folds",
             "words", "check", "__main__"),
    "extract": ("config extras", "backbones flags", "folder", "pipeline", "exchange extraction verification",
                "command inspection sharing", "__main__ plan_report"),
    "train": ("distributed order task threads", "config", "batches model settings",
              "augment criterion run_folder share writing", "prepare start trainer", "yardsticks", "monitor",
              "session summary", "finetune", "__main__"),
}
EXCEPTIONS = {("train/finetune/backbone.py", "extract")}  # the one stage that looks at photos again


def imported_modules(path: Path) -> set[str]:
    """Dotted names a file imports, wherever in it the import stands; of `from a.b import c` a.b and a.b.c."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_packages(path: Path) -> set[str]:
    """Top-level names a file imports."""
    return {name.partition(".")[0] for name in imported_modules(path)}


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        relative = path.relative_to(ROOT).as_posix()
        forbidden = (imported_packages(path) & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}
        forbidden = {name for name in forbidden if (relative, name) not in EXCEPTIONS}
        assert not forbidden, f"{relative} imports {forbidden}"


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_stand_above_what_they_import(package):
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms.split()}
    for path in sorted((ROOT / package).rglob("*.py")):
        here = name_module(path).split(".")[1]
        rooms = {name.split(".")[1] for name in imported_modules(path) if name.startswith(f"{package}.")} - {here}
        above = {room for room in rooms if floor[room] >= floor[here]}
        assert not above, f"{name_module(path)} imports {above} from the same floor or above"
    standing = {name_module(path).split(".")[1] for path in (ROOT / package).rglob("*.py")} - {"__init__"}
    assert standing == floor.keys(), "the table names rooms that are not there, or not all"


@pytest.mark.parametrize("package", FLOORS)
def test_no_two_files_import_each_other(package):
    modules = {name_module(path): imported_modules(path) for path in (ROOT / package).rglob("*.py")}
    order = graphlib.TopologicalSorter({name: names & modules.keys() for name, names in modules.items()})
    assert len(list(order.static_order())) == len(modules)  # a CycleError names the files


def test_one_file_alone_knows_the_hdf5_layout():
    users = {path.relative_to(ROOT).as_posix() for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")
             if "h5py" in imported_packages(path)}
    assert users == {"data/folder/shards.py", "extract/exchange/sources.py"}  # the second reads others' files alone


@pytest.mark.parametrize("package", [*MAY_IMPORT, "train.finetune"])
def test_help_answers_without_importing_torch(package):
    """Half a second is the promise; what breaks it is an early import, and that can be tested without a clock."""
    code = ("import runpy, sys\nsys.argv = ['x', '--help']\n"
            f"try:\n    runpy.run_module({package!r}, run_name='__main__')\nexcept SystemExit as stop:\n"
            "    assert not stop.code\n"
            "late = {'torch', 'spacy', 'matplotlib', 'sklearn', 'h5py', 'PIL'} & set(sys.modules)\n"
            "assert not late, late")
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout and time.monotonic() - started < 10


def test_every_dependency_is_named_and_pinned():
    """Third-party imports appear in setup.cfg, and every name there in constraints.txt."""
    import configparser
    import re
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options"]["install_requires"] + "".join(settings["options.extras_require"].values())
    named = {re.split(r"[<>=! ]", line.strip())[0].lower() for line in lines.splitlines()
             if line.strip() and not line.strip().startswith("#")}
    pinned = {line.partition("==")[0].lower().replace("_", "-")
              for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert named <= pinned, named - pinned
    distribution = {"PIL": "pillow", "sklearn": "scikit-learn", "rouge_score": "rouge-score",
                    "huggingface_hub": "huggingface-hub"}
    used = set().union(*(imported_packages(path) for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")))
    foreign = used - set(sys.stdlib_module_names) - MAY_IMPORT.keys()
    assert {distribution.get(name, name) for name in foreign} <= named


# A floor a bracket, the lowest first: a room knows those below it and nothing of those beside it.
ROOMS_OF_EVALUATE = (
    ("config", "terminal", "statistics", "rows", "predictions", "machine"), ("metrics", "split", "processes"),
    ("photos", "captions", "tags", "table", "runs"), ("baselines",), ("stories",), ("evaluation", "comparison"),
    ("ablation", "own_story", "page"), ("app", "crossval", "preload"), ("commands",), ("__main__",))


@pytest.mark.parametrize("room", [room for floor in ROOMS_OF_EVALUATE for room in floor])
def test_rooms_of_evaluate(room):
    floor = next(place for place, rooms in enumerate(ROOMS_OF_EVALUATE) if room in rooms)
    below = {room, *(name for rooms in ROOMS_OF_EVALUATE[:floor] for name in rooms)}
    place = ROOT / "evaluate" / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    for path in files:
        modules = {node.module.split(".")[1] if "." in node.module else name.name
                   for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                   if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "evaluate"
                   for name in node.names}
        assert modules <= below, f"{path.relative_to(ROOT)} imports {sorted(modules - below)} from above or beside it"


def test_every_room_of_evaluate_has_its_floor():
    there = {path.stem for path in (ROOT / "evaluate").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__init__", "__pycache__"} == {room for floor in ROOMS_OF_EVALUATE for room in floor}


INDIRECT = {"tensorboard": "torch.utils.tensorboard", "pycocoevalcap": 'find_spec("pycocoevalcap")'}  # a jar of its


def test_every_package_has_a_caller_in_the_product():
    """What setup.cfg installs for everyone is imported by data, extract, train or evaluate, not by tests alone."""
    import configparser
    import re
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    wanted = set(re.findall(r"^[a-z][\w-]*", settings["options"]["install_requires"], re.MULTILINE))
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    used = set().union(*map(imported_packages, files)) | {name for name, call in INDIRECT.items() if call in text}
    module = {"pillow": "PIL", "scikit-learn": "sklearn", "rouge-score": "rouge_score"}
    assert {module.get(name, name) for name in wanted} <= used
