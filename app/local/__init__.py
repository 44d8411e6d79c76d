"""What only one machine needs: the supervisor of `hypo up`, its broker, and the processes that it starts."""
