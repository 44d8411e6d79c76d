"""Prompts with completions: as shared prefixes, or as one sequence per completion."""
