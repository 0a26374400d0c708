"""Benchmarks that print JSON; never tests."""
