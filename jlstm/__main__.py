"""`python -m jlstm` is `jlstm`."""

import sys

from .cli import main

sys.exit(main())
