"""Lie groups, cameras, the undistorted canvas, trajectories and splines."""
