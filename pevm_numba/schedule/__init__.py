"""When a transaction may run: conflicts, policies and their bounds. A schedule always says which serial order it equals."""
