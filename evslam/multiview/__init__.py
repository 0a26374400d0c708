"""Views, observations and landmarks: triangulation, pose fit, bundle adjustment, the sparse map."""
