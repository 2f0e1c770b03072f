"""ComiRec's command line on Reprise's engine: see `reprise.cli.commands.comirec`."""

from reprise.__main__ import comirec

comirec()
