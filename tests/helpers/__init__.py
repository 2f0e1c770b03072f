"""What tests share: builders of data and models, runs in this process and others, oracles."""
