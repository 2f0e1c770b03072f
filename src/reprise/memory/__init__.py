"""What is counted beside a model: which items follow an item, and what that adds to scores."""
