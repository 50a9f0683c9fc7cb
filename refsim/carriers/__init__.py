"""What the same op code runs on: tiles of int64, Python ints, intervals."""
