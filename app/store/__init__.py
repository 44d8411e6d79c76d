"""All database operations, one module per entity. Queries take a keyword-only session; the caller commits."""
