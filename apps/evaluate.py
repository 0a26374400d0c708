"""`evslam eval` as a script: python apps/evaluate.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
