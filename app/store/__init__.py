"""Every database operation, a file a noun. Queries take a keyword-only session; the caller commits."""
