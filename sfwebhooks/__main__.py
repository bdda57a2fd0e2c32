"""`python -m sfwebhooks` is the command `sfwebhooks`."""

import sys

from sfwebhooks.cli import main

sys.exit(main())
