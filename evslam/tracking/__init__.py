"""The motion of the camera: of a batch by contrast, of a frame by points; starts, and things that move."""
