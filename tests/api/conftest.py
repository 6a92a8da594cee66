import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "roles"))  # in_process: a whole fleet in one test process
