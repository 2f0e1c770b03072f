"""The page that `reprise report` writes: facts of runs, pictures of them, and HTML."""
