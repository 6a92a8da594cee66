"""The CSV datasets of Tardis: what a row holds, reading and writing them, and the messages their rows make."""
