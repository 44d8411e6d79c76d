"""What it costs a generate worker to answer: a campaign in batches, and several contenders at once."""
