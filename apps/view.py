"""`evslam view` as a script: python apps/view.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["view", *sys.argv[1:]]))
