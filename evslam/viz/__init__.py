"""Plots, images, the three-dimensional scene and the live view."""
