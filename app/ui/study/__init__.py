"""The page of the study, and its HTML file."""
