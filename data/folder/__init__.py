"""The features folder: its one HDF5 layout, its manifest and identities, opened for reading."""
