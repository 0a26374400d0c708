"""Evaluation of finished runs: accuracy figures, tables and benchmarks (the only place that imports evo)."""
