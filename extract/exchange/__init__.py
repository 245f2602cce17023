"""Features from elsewhere brought into a folder, and a folder's features taken elsewhere."""
