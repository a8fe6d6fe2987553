"""Fault proofs: of two parties that claim different results of a block, one step of one transaction shows who is wrong."""
