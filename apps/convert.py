"""`evslam convert` as a script: python apps/convert.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
