"""Other people's engines and trainers: one file each, in an extra and an environment of its own."""
