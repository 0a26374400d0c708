"""The binning layer: event histograms with exact forward values and functional backpropagation."""

from evslam.ops.binning import bin_events, count_dropped

__all__ = ["bin_events", "count_dropped"]
