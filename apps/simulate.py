"""`evslam simulate` as a script: python apps/simulate.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["simulate", *sys.argv[1:]]))
