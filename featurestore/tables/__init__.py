"""What is kept: where tables lie, their numbered logs, and the one way of writing them."""
