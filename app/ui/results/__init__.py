"""The page of votes and what they say."""
