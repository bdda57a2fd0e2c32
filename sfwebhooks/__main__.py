"""`python -m sfwebhooks` runs the command `sfwebhooks`."""

import sys


def main() -> int:
    """Run the command and return its exit code, even if Ctrl-C arrives while it loads."""
    try:
        from sfwebhooks.cli import main as command

        return command()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
