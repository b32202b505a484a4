"""Data sets, generated and read from files, and their way into the trainer in batches."""
