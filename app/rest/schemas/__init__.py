"""What comes in and what goes out, a file a noun."""
