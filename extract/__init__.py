"""Photos to features: the backbone looks at every photo once."""
