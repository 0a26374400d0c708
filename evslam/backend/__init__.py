"""What makes poses agree over a long time: adjustment of trajectories and windows, places, loops, pose graph."""
