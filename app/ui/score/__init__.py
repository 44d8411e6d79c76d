"""The page Score a text: a pasted text, scored as the answer to a prompt by several contenders."""
