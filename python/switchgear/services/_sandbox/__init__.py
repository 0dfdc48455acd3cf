"""The parts of the sandbox service: one idea a file."""
