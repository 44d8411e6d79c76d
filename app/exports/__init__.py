"""Votes on their way out: rows of the formats people read, written as JSONL, CSV or Parquet."""
