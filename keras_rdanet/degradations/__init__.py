"""How clean images become degraded ones."""
