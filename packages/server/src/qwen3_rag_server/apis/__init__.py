"""One module for each API that the server speaks."""
