"""The network: what a story becomes inside it, and what comes out."""
