"""Golden vectors: where inputs come from, how a corpus is written, read, verified."""
