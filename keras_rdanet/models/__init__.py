"""The networks; importing this registers every class a saved file can hold."""
