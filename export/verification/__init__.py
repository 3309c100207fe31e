"""Whether an exported file does what its network does, where it can run, and a report of both."""
