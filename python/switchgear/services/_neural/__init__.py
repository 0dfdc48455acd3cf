"""The parts of the neural service: one idea a file."""
