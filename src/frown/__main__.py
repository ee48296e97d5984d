"""`python -m frown`, as launchers start it."""

from frown.cli import main

main()
