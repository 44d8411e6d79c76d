"""Chat templates and thinking: how a conversation becomes a prompt. No torch here."""
