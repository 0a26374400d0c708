"""How well mode `auto` tells a rotating camera from a translating one.

    python -m evslam.eval.bench.auto_mode RECORDING...

Prints, per recording, the chosen mode and the median gain of SE(3) over a rotation that decided it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from evslam.config import load_config
from evslam.session import RunOptions, open_session
from evslam.tracking.mode import choose_mode


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    arguments = parser.parse_args()
    config = load_config()
    torch.set_num_threads(config.run.threads)
    for path in arguments.recordings:
        session = open_session(RunOptions(path, Path()), config)
        choice = choose_mode(session.batches(config, session.start_us), session.camera, config)
        print(json.dumps({"recording": path.name, "mode": choice.mode, "reason": choice.reason}))


if __name__ == "__main__":
    main()
