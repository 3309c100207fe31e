"""Training data: folders, pairs, packed shards and the pipelines made of them."""
