"""Text: sequences of tokens, what is predicted of them, and the files that they come from."""
