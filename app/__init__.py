"""The web process and the command line. Nothing in this package imports torch."""
