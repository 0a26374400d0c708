"""Maps from events: the panorama, sparse landmarks, edges and their depth."""
