"""Readers and writers. Content is checked here in the file's own words; `Block` checks the arrays once more."""
