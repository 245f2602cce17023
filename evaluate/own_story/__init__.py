"""One story from photos of your own."""
