"""`python -m worker` is `muster`: how a supervisor starts its children with the same Python."""

from worker.cli import main

if __name__ == "__main__":
    main()
