#!/usr/bin/env bash
# Install Plotly's basic bundle into a folder: plotly.sh FOLDER. Without npm, pages use the full bundle.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v npm >/dev/null; then
    echo "There is no npm: charts load the whole of Plotly, 1.4 MB instead of 0.4."
    exit 0
fi
mkdir -p "$1"
cp scripts/plotly/package.json scripts/plotly/package-lock.json "$1/"
npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null ||
    echo "npm could not install Plotly's basic bundle: charts load the whole of it, 1.4 MB instead of 0.4."
