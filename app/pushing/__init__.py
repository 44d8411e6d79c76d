"""Pushing to a hub: votes as a dataset repository, a run's weights as a model repository.

`hub` speaks to the hub, `labels` and `runs` write what is pushed to a folder first, `dataset_card` describes
votes. Only commands push: they use the token of whoever runs them.
"""
