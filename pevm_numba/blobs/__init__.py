"""Blobs (EIP-4844 and after): their fee market, their rules, blocks built and simulated with them, the work they make."""
