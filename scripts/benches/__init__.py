"""What `scripts/bench` measures, a module for each subject. Not part of the installed receiver."""
