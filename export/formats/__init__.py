"""The formats: their table in `registry`, and one module that writes the files of each."""
