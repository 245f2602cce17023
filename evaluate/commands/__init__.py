"""The commands of `python -m evaluate`, a file each: `build_parser()` and `run(arguments)`, torch imported late."""
