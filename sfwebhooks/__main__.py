"""`python -m sfwebhooks` is the command `sfwebhooks`."""

import sys


def main() -> int:
    """Run the command; return its exit code, also if Ctrl-C comes while it is loaded."""
    try:
        from sfwebhooks.cli import main as command

        return command()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
