"""Every data set of the platform, by name. Feature groups bring the contracts of their tiles."""
