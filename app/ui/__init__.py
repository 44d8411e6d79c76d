"""The pages, a folder each, and what they share: theme, widgets and charts. `gr.Error` is raised only here."""
