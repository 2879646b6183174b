"""`python -m dashboards FOLDER HOST PORT`: the server, as `diffuscope dashboard` starts it."""

import sys

from dashboards.app import serve

serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
