# Ensure that there is a Chromium for the browser tests: one on the PATH, or Playwright's own.
# Usage: chromium.sh FOLDER_OF_PLAYWRIGHT

set -u

find_browser() {
  command -v chromium || command -v chromium-browser || command -v google-chrome ||
    "$1/python" -c '
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    path = playwright.chromium.executable_path
sys.exit(0 if pathlib.Path(path).is_file() else 1)'
}

install_from_debian() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
}

find_browser "$1" >/dev/null 2>&1 && exit 0
echo "There is no Chromium yet; installing it ..."
install_from_debian >/dev/null || "$1/playwright" install chromium
find_browser "$1" >/dev/null 2>&1 && exit 0
echo "The browser tests need Chromium, and it could not be installed; install it (on Debian as root:" \
  "apt-get install chromium) and run this again." >&2
exit 1
