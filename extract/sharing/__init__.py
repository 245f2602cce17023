"""A features folder on its way to others: packed, pushed, pulled, whole or in part."""
