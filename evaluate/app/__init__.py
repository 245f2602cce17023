"""A local page where photos of your own become a story."""
