"""State that outlives a block: one protocol, and what keeps it."""
