"""The batch layer: one file, one job, each submittable by itself."""
