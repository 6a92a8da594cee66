"""What every simulated exchange has: markets with their truth, feeds, faults, limits, sockets, control."""
