"""Other libraries, made to work with breakers: one file a library."""
