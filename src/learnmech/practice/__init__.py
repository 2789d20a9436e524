"""What does happen: data, networks, training and instruments. PyTorch, and no formula."""
