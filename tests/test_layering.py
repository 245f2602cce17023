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
    "data": ("errors", "files lock pictures progress", "annotations storyworld", "fetch folder folds", "words", "check",
             "__main__"),
    "extract": ("config extras", "backbones flags", "folder", "pipeline", "exchange extraction verification",
                "command inspection sharing", "__main__ plan_report"),
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
