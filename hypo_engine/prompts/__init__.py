"""Prompts with their completions: encoded once and shared, or one sequence a completion."""
