"""Several processes that share each batch: what they bring, what their exchanges cost, and what that says of more of them."""
