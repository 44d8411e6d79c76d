"""The pages, a folder each, and what they share: theme, widgets, charts and events.

`gr.Error` is raised only here.
"""
