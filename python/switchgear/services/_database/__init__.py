"""The parts of the database service: one idea a file."""
