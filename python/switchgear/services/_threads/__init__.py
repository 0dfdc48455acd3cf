"""The way from an event loop to a thread of a service, and back."""
