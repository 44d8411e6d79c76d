"""The training methods: what each computes from the parts of a batch."""
