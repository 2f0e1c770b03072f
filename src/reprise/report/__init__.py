"""The HTML report of `reprise report`: facts of runs, figures, and the page."""
