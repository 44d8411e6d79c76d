"""Whether this process was asked to go away; runs and answers look between two steps."""

import threading

going_away = threading.Event()
