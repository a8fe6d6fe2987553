"""What a transaction touches: `sets` holds access sets, `oracles` estimates them before execution."""
