"""Makes all hostile files in a folder."""

import sys
from pathlib import Path

from tests.hostile import all_cases, make

root = Path(sys.argv[1]).resolve()
for case in all_cases():
    print(make(case, root))
