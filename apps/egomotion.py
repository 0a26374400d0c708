"""`evslam egomotion` as a script: python apps/egomotion.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["egomotion", *sys.argv[1:]]))
