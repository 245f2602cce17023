"""Missing photos of a data folder, fetched from the addresses that its annotations name."""
