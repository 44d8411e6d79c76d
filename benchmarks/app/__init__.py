"""The app with many rows: a database filled to the brim, and how long pages, votes and scans take on it."""
