"""A laboratory for parallel EVM execution: load blocks, find conflicts, schedule, execute on every core, prove the result."""
