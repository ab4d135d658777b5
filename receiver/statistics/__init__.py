"""Figures from counts: rates, intervals, verdicts, periods. Pure functions; time is an argument."""
