"""Running a block: every executor gives the receipts and state of serial execution in the promised order, bit for bit."""
