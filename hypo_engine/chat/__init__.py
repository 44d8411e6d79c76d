"""Chat templates and thoughts: how a conversation becomes a model's text. No torch here."""
