"""`evslam info` as a script: python apps/info.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["info", *sys.argv[1:]]))
