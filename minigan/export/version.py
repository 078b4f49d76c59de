"""Which minigan wrote a file."""

import sys

VERSION: str = sys.modules[__name__.partition(".")[0]].__version__  # the package's own, which stands above this folder
