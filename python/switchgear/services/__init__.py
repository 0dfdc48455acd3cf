"""Services behind a breaker each: one file a service, over libraries that their users trust already."""
