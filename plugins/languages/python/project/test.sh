# The unit tests, in Python 3.11 or later: no WebAssembly, no host.
set -eu
PYTHONPATH=src:sdk:testing PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover -s tests
