"""A receiver for voice-call callbacks: receive, trust, keep, count."""

from typing import Final

__version__: Final = "0.1.0"
