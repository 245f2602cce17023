"""Where the true next photo ranks, how near the prediction comes, how alike the pictures look."""
