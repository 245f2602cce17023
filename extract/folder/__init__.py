"""A features folder while it is made: planned, noted, published."""
