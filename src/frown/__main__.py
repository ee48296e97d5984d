"""`python -m frown`, as launchers start it."""

from frown.cli.app import main

main()
