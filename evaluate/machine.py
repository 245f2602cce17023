"""What numbers were made on: equal kinds give equal numbers, to the last digit."""
import platform
from pathlib import Path

from extract.folder.recipe import package_versions

PACKAGES = ("torch", "numpy", "scipy", "h5py", "safetensors")


def describe_machine(device: str) -> dict[str, object]:
    """Kind of processor or GPU, threads, and versions of what computes; neither host nor user."""
    import torch
    kind = torch.cuda.get_device_name(device) if device.startswith("cuda") else (
        f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {_name_processor()}")
    return {"device": kind, "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), **package_versions(PACKAGES)}}


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "another system")
