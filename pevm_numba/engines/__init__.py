"""Other ways to run programs than the interpreter: machine code made for one shape of program each."""
