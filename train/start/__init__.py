"""How a fresh model begins: statistics and shares of the train stories, or the weights of another run."""
