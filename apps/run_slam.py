"""`evslam run` as a script: python apps/run_slam.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
