"""Static cost: what the net multiplies, and what each artifact's graph asks of memory."""
