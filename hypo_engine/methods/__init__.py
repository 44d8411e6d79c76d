"""What is minimised: the losses of DPO and HyPO, and a batch's contribution to a step."""
