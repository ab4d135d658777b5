"""Telephone numbers as people without the role `reveal` may see them."""

from typing import Final

_STARS: Final = "****"
_LONG: Final = 11


def masked(callee: str | None, nationcode: str | None) -> str | None:
    """`8613800138000` of nationcode `86` as `138****8000`: no country code, no length, at most seven digits."""
    if callee is None:
        return None
    national = callee.removeprefix(nationcode or "")
    if len(national) >= _LONG:
        return f"{national[:3]}{_STARS}{national[-4:]}"
    # A short number with seven digits showing would hide nothing.
    return f"{_STARS}{national[-2:]}" if len(national) > len(_STARS) else _STARS
