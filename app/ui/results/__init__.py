"""The results page: votes and their analysis."""
