# Check a Python interpreter; if it cannot run HyPO Studio, print the reason in one sentence.
# Usage: check_python.sh PYTHON

if ! command -v "$1" >/dev/null; then
  echo "There is no $1; install Python 3.11 or newer, or name one: make setup PYTHON=/path/to/python3.12" >&2
  exit 1
fi
if ! "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "$1 is $("$1" --version); HyPO Studio needs 3.11 or newer: make setup PYTHON=/path/to/python3.12" >&2
  exit 1
fi
if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "$1 cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
  exit 1
fi
