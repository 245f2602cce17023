"""Tags against the true ones, and against what words and photos say."""
