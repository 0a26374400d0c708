"""An IMU and a trajectory up to scale: time offset, biases, gravity and metric scale."""
