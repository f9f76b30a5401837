"""What README and docs/ quote, measured: a folder a question. README.md here says what to run."""
