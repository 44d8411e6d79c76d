"""Writing responses: sampling, and the ways to decode."""
