"""The published album-level protocol: any system's stories, and our own whole stories."""
