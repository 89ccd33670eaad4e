"""Cassandra views, shared by all that touch them: schema, writer, versions and pointer, reads by key, scans."""
