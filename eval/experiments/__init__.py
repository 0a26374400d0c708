"""Experiments: sequences x configurations x seeds from a YAML file, one cached result per job, tables and figures."""
