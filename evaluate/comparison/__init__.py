"""Systems held against each other or against references, from their files alone."""
