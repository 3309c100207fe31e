"""Training runs: `model.fit` from a config, resumable to the step."""
