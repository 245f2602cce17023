"""How sure a number is, and whether one system beats another."""
