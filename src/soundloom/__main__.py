"""`python -m soundloom` is the command `soundloom`."""

import sys

from soundloom.cli.main import main

sys.exit(main())
