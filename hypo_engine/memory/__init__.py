"""How much memory a run takes, and what to change where it does not fit. No torch here."""
