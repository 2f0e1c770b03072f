"""What a run would need that does not exist yet: bytes, traffic and times (`reprise plan`)."""
