"""`python -m benches` is `scripts/bench`."""

from benches.cli import main

if __name__ == "__main__":
    main(prog_name="scripts/bench")
