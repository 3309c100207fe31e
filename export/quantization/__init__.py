"""From float32 to eight bits."""
