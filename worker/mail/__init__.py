"""Everything a mail needs: its address, its words, its bytes, and the way to the relay."""
