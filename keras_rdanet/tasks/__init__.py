"""What images are restored from: one file a task, and the registry of them."""
