"""`python -m axiom.host.cli` is `axiom`."""

from axiom.host.cli.main import main

main()
