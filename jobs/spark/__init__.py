"""What all batch jobs share: the session, the run, the lake's tables, contracts as Spark schemas."""
