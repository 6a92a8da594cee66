"""Files that researchers work with: what they bring into the archive, and what they take out of it."""
