"""Base models, adapters, and the policy that is trained."""
