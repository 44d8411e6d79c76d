# Print the exact versions of all installed packages, as constraints for pip, without local suffixes (+cpu).
# Usage: pins.sh PIP

set -eu -o pipefail
echo "# Exact versions of everything, development tools included. Written by \`make pins\`."
"$1" freeze --disable-pip-version-check --exclude-editable | grep -v -e ' @ ' -e '^-e' -e '^#' |
  sed 's/+[a-z0-9.]*$//'
