"""Entry point of `python -m atrous`."""

from atrous.cli import main

if __name__ == "__main__":
    main()
