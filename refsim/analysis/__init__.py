"""How far the integer operations are from the real functions they stand for, and the reports that show it."""
