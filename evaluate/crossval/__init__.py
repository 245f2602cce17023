"""Cross-validation: grouped folds of one data folder, features made once, one pooled table."""
