import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from lib.fixtures import *  # noqa: E402,F401,F403  fixtures and hooks
