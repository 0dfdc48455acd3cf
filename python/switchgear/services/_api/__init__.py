"""The parts of the API service: one idea a file."""
