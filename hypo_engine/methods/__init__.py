"""The losses of DPO and HyPO, and the objective of a batch."""
