"""evslam: event-camera SLAM that differentiates through event binning."""

__version__ = "0.1.0"
