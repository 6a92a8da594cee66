"""Tardis' protocol: serving what the fleet holds as tardis-machine would."""
