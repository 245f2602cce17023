"""Features to a model: fusion, sequence and decoder heads on stored features."""
