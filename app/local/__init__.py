"""Single-machine operation: the supervisor of `hypo up`, its broker, and its child processes."""
