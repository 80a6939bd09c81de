"""What a store has to do, and the stores there are, each in a folder of its own."""
