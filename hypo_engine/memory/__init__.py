"""Memory estimates, and changes that make a run fit. No torch here."""
