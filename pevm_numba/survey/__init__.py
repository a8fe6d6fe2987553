"""One analysis over thousands of blocks: most are too small to be worth several cores each, so cores share out blocks."""
