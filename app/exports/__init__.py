"""Export of votes in several row formats, written as JSONL, CSV or Parquet."""
