"""What needs no story model: simple predictors that stand in every table."""
