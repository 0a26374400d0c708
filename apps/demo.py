"""`evslam demo` as a script: python apps/demo.py ..."""

import sys

from evslam.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
