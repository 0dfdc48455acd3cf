"""The parts of the httpx integration: verdicts, bodies, deadlines."""
