"""What Python programs use: files, managers, whole downloads, fsspec."""
