"""What the language model reads, how it is fine-tuned, and what it makes of names and facts."""
