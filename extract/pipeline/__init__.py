"""The run over all photos: reader, mapper and writer at work together."""
