"""`python -m fooocus_nb.cli` is the command `fooocus-nb`."""

import sys

from fooocus_nb.cli import main

sys.exit(main())
