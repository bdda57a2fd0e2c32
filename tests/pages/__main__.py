"""Write the pages of the documentation that are made from the code.

    python -m tests.pages [--pictures]

With --pictures also the terminal captures and, if there is Chromium, the chat messages and the page of `sfwebhooks web`
in docs/pictures.
"""

from __future__ import annotations

import argparse

from tests.pages import DOCS, pictures, web_pictures
from tests.pages.all import PAGES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pages", description="Write pages of the documentation.")
    parser.add_argument("--pictures", action="store_true", help="also run the commands of which there are pictures")
    given = parser.parse_args()
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    print(f"{len(PAGES)} pages in {DOCS}")
    if given.pictures:
        print(f"{pictures.write() + web_pictures.write_web()} pictures in {pictures.FOLDER}")


if __name__ == "__main__":
    main()
