"""`fleet bench`: a plant under load, measured: its processes, its delays, and whether what it holds is right."""
