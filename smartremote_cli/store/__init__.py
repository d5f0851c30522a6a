"""Where blocks are kept: a file with its part record, the cache folder, or memory. No network."""
